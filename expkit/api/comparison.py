"""Runs set side by side, from Python."""

import html
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.api.calling import calling, computing
from expkit.api.overriding import explaining, overrides_of
from expkit.api.running import Result, composed_of

if TYPE_CHECKING:
    import pandas as pd

    from expkit.api.study import Study


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


def compare(*runs: "str | Path | Result | Study", quiet: bool = False, **keys: Any) -> Comparison:
    """Set runs side by side as `task=compare` does: what differs, and whether it is more than chance.

    `runs` are two or more, each what `expkit.run` gave or a name of a run, the first of which the others are set
    beside; or one study, grid or folder of runs. `keys` are those of the task: `top=20`, `examples=0`.

    Raises UserError where there is no such run, fewer than two, one of them twice, or they have different classes.
    """
    from expkit.command_line.guard import look
    from expkit.command_line.one_run import run_composed
    from expkit.comparison.answers import answers_of

    names = [str(one if isinstance(one, str | Path) else one.folder) for one in runs]
    named = {"runs": names[0] if len(names) == 1 else names}
    with calling(quiet=quiet), explaining():
        composed, hydra, path = composed_of(["task=compare", *overrides_of("task", named | keys)], ())
        with computing():
            found = run_composed(composed, hydra, path, look(path))
        return Comparison(path / "comparison", answers_of(found), list(found.notes))
