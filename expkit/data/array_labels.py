"""Labels of any kind as indices into a list of class names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expkit.check import nearest
from expkit.data.items import UNLABELLED
from expkit.errors import UserError, first_ten


def check_labels(labels: NDArray[Any], count: int, key: str) -> NDArray[Any]:
    """One label an image, whole numbers or text; raises UserError, naming `key`, for anything else."""
    if labels.shape != (count,):
        shape = " x ".join(map(str, labels.shape)) or "of a single value"
        raise UserError(f"{key} has shape {shape}, expected {count}: one label an image")
    if labels.dtype == object and all(isinstance(label, str) for label in labels):
        labels = labels.astype(str)
    if labels.dtype.kind == "b":
        labels = labels.astype(int)
    if labels.dtype.kind not in "iuU":
        raise UserError(f"{key} holds {labels.dtype} values, expected whole numbers or text")
    return labels


def class_list(
    labels: NDArray[Any], names: Sequence[str] | None, target_names: Sequence[Any] | None
) -> tuple[tuple[str, ...], NDArray[Any]]:
    """The class names, and the label value of each, from the training labels.

    Numbers count into `names`, of which each must occur; those that occur are named by `target_names`, if the source
    has any; otherwise the values are the names.
    """
    found = np.unique(labels)
    text = labels.dtype.kind == "U"
    if names is not None:
        check_names(
            names, {str(value) if text else names[value] for value in found.tolist() if text or 0 <= value < len(names)}
        )
        return tuple(names), np.array(names) if text else np.arange(len(names))
    if target_names is not None and not text and found.min() >= 0 and found.max() < len(target_names):
        return tuple(str(target_names[value]) for value in found), found
    return tuple(map(str, found)), found


def check_names(names: Sequence[str], found: set[str]) -> None:
    """Raise UserError for class names that are given twice or have no training image."""
    if len(set(names)) < len(names):
        raise UserError("data.classes has the same name twice")
    empty = [name for name in names if name not in found]
    if empty:
        raise UserError(f"{len(empty)} of {len(names)} data.classes have no training image:\n{first_ten(empty)}")


def encode(labels: NDArray[Any], values: NDArray[Any], key: str) -> NDArray[np.int64]:
    """The place of each label in `values`; raises UserError, naming rows, for labels that are not among them."""
    place = {value: index for index, value in enumerate(values.tolist())}
    codes = np.array([place.get(label, UNLABELLED) for label in labels.tolist()], np.int64)
    unknown = np.flatnonzero(codes == UNLABELLED)
    if len(unknown):
        hint = nearest(str(labels[unknown[0]]), map(str, values))
        lines = [f"row {row}: {labels[row]}" for row in unknown]
        raise UserError(f"{key} has {len(unknown)} labels that are no class ({hint}):\n{first_ten(lines)}")
    return codes
