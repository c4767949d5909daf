"""Predictions on labelled images as a run keeps them: predictions.parquet, and the parquet files of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from expkit.errors import UserError
from expkit.json_shapes import WHOLE_COPY
from expkit.trainer.evaluate import confusion_matrix


@dataclass(frozen=True)
class Predictions:
    """What a model said of N labelled images of C classes."""

    files: Sequence[str]
    """What a person calls each image."""
    classes: Sequence[str]
    labels: NDArray[np.int64]
    guesses: NDArray[np.int64]
    """The class that each image was taken for."""
    confidences: NDArray[np.float64]
    """The probability of the guess."""
    losses: NDArray[np.float64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which images were told rightly."""
        right: NDArray[np.bool_] = self.labels == self.guesses
        return right

    @cached_property
    def matrix(self) -> NDArray[np.int64]:
        """C x C: a row for each label, a column for each guess."""
        return confusion_matrix(self.labels, self.guesses, len(self.classes))


def read_predictions(path: Path, classes: Sequence[str]) -> Predictions:
    """Read a table of predictions. Raises UserError where it is damaged, or speaks of other classes."""
    number = {name: index for index, name in enumerate(classes)}
    try:
        table = pq.read_table(path, columns=["file", "label", "prediction", "confidence", "loss"])
        labels, guesses = (
            np.array([number[name] for name in table[column].to_pylist()], np.int64)
            for column in ("label", "prediction")
        )
    except (OSError, pa.ArrowException, KeyError) as error:
        raise UserError(f"{path} cannot be read ({error}): {WHOLE_COPY}") from error
    confidences, losses = (table[column].to_numpy().astype(np.float64) for column in ("confidence", "loss"))
    return Predictions(table["file"].to_pylist(), classes, labels, guesses, confidences, losses)
