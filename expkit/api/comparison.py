"""What a comparison of runs came to, as pandas frames and as a notebook shows it."""

import html
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Comparison:
    """What a comparison came to; the letters of its frames are the runs in their order, the first of them A."""

    folder: Path
    """Where its files lie: the page comparison.html, the picture, and the tables as CSV."""
    answers: list[str]
    """What it says, in sentences."""
    notes: list[str]
    """What is not compared, and why."""

    @cached_property
    def runs(self) -> "pd.DataFrame":
        """A row for each run: what differs in its config, and what it came to."""
        return self.table("runs")

    @cached_property
    def setups(self) -> "pd.DataFrame":
        """A row for each setup, runs that differ only in their seed together: its difference to the first, and p."""
        return self.table("setups")

    @cached_property
    def curves(self) -> "pd.DataFrame":
        """A row for each epoch of each run, with all its metrics."""
        return self.table("curves")

    @cached_property
    def by_class(self) -> "pd.DataFrame":
        """The share of each class's images that each setup tells rightly; empty where runs share no images."""
        return self.table("classes")

    @cached_property
    def images(self) -> "pd.DataFrame":
        """The images that setups disagree on, and what each run took them for; empty where runs share no images."""
        return self.table("images")

    def table(self, name: str) -> "pd.DataFrame":
        """One of the tables, its first column as the index."""
        import pandas as pd

        path = self.folder / f"{name}.csv"
        if not path.exists():
            return pd.DataFrame()
        labels = ["file", "label", "right", "class"]
        return pd.read_csv(path, index_col=0, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(labels, str))

    def __repr__(self) -> str:
        return "\n".join([*self.answers, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        from expkit.page import of_file

        told = "".join(f"<p>{html.escape(line)}</p>" for line in repr(self).splitlines())
        picture = f'<img style="max-width: 60em; width: 100%" src="{of_file(self.folder / "comparison.png")}">'
        return f"{told}{self.setups.dropna(axis=1, how='all').to_html(float_format='{:.4f}'.format)}{picture}"
