"""What an evaluation came to, as pandas frames and as a notebook shows it."""

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from expkit.command import shown
from expkit.page import of_file


@dataclass(frozen=True, repr=False)
class Evaluation:
    """A model scored on labelled images. The index of each frame begins with the part that they are, such as valid."""

    folder: Path
    """Where its files lie, in the run's folder."""
    content: Mapping[str, Any]
    """All of it, as evaluation.json has it."""

    @property
    def metrics(self) -> pd.DataFrame:
        """Every metric, a row for each part: `metrics.loc["valid", "accuracy"]`."""
        return pd.DataFrame.from_dict(self.of_parts("metrics"), orient="index")

    @property
    def intervals(self) -> pd.DataFrame:
        """The 95% intervals from bootstrap samples, for each part a row `low` and a row `high`."""
        return self.joined(lambda scores: pd.DataFrame(scores["intervals"], index=["low", "high"]))

    @property
    def by_class(self) -> pd.DataFrame:
        """Images, precision, recall and so on, a row for each class: `by_class.loc["valid", "cat"]`."""
        return self.joined(lambda scores: pd.DataFrame(scores["by_class"]).set_index("class"))

    @property
    def confused(self) -> pd.DataFrame:
        """Which class was taken for which, the most images first."""
        return self.joined(lambda scores: pd.DataFrame(scores["confused"]))

    @property
    def confusion(self) -> pd.DataFrame:
        """The confusion matrix, for each part a row for each label and a column for each prediction."""
        parts: dict[str, pd.DataFrame] = {}
        for name, scores in self.content["parts"].items():
            matrix = pd.read_csv(self.folder / f"confusion_{name}.csv", index_col=0, na_filter=False)
            classes = [one["class"] for one in scores["by_class"]]
            parts[name] = matrix.set_axis(classes, axis=0).set_axis(classes, axis=1)
        return pd.concat(list(parts.values()), keys=list(parts), names=["part", "label"]).rename_axis(
            columns="prediction"
        )

    @property
    def predictions(self) -> pd.DataFrame:
        """A row for each image: file, label, prediction, confidence and loss."""
        names: list[str] = list(self.content["parts"])
        return pd.concat(
            [pd.read_parquet(self.folder / f"{name}.parquet") for name in names], keys=names, names=["part"]
        )

    def of_parts(self, key: str) -> dict[str, Any]:
        """What evaluation.json says under a key, by part."""
        return {name: scores[key] for name, scores in self.content["parts"].items()}

    def joined(self, frame_of: Callable[[Mapping[str, Any]], pd.DataFrame]) -> pd.DataFrame:
        """The frames that are made of each part's scores, one below the other."""
        names: list[str] = list(self.content["parts"])
        return pd.concat([frame_of(self.content["parts"][name]) for name in names], keys=names, names=["part"])

    def __repr__(self) -> str:
        told = [
            f"{name} accuracy {scores['metrics']['accuracy']:.4f} on {scores['images']} images"
            for name, scores in self.content["parts"].items()
        ]
        return f"{'; '.join(told)}, in {shown(self.folder)}"

    def _repr_html_(self) -> str:
        pictures = (self.folder / f"confusion_{name}.png" for name in self.content["parts"])
        drawn = [f'<img style="max-width: 32em" src="{of_file(path)}">' for path in pictures if path.exists()]
        return f"<p>{html.escape(repr(self))}</p>{self.table().to_html()}{''.join(drawn)}"

    def table(self) -> pd.DataFrame:
        """The metrics as a person reads them, a row each, with their intervals."""
        columns = {}
        for name, scores in self.content["parts"].items():
            columns[f"{name} ({scores['images']})"] = {key: f"{one:.4f}" for key, one in scores["metrics"].items()}
            limits = {key: f"{low:.4f} - {high:.4f}" for key, (low, high) in scores["intervals"].items()}
            if limits:
                columns[f"{name}, 95%"] = limits
        return pd.DataFrame(columns).fillna("")
