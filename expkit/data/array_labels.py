"""Labels of any kind as indices into a list of class names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expkit.check import nearest
from expkit.data.items import UNLABELLED
from expkit.errors import UserError, first_ten
from expkit.words import many


def check_labels(labels: NDArray[Any], count: int, key: str) -> NDArray[Any]:
    """One label an image, whole numbers or text; raises UserError, naming `key`, for anything else."""
    if np.ma.is_masked(labels):
        raise UserError(f"{key} has masked labels; leave out those images")
    if labels.shape != (count,):
        shape = " x ".join(map(str, labels.shape)) or "of a single value"
        raise UserError(f"{key} has shape {shape}, expected {count}: one label an image{hint_of_shape(labels, count)}")
    if labels.dtype == object:
        check_objects(labels, key)
        labels = np.array(labels.tolist())
    if labels.dtype.kind == "b":
        labels = labels.astype(int)
    if labels.dtype.kind not in "iuU":
        raise UserError(f"{key} holds {labels.dtype} values, expected whole numbers or text{hint_of_type(labels)}")
    return labels


def check_objects(labels: NDArray[Any], key: str) -> None:
    """Raise UserError, naming rows, unless all labels are text, or all are numbers."""
    whole = all(isinstance(label, int | np.integer) for label in labels)
    wrong = [] if whole else [row for row, label in enumerate(labels.tolist()) if not isinstance(label, str)]
    if wrong:
        which = many(len(wrong), "label that is", "labels that are")
        lines = (f"row {row}: {labels[row]!r}" for row in wrong)
        raise UserError(f"{key} has {which} no text:\n{first_ten(lines, len(wrong))}")


def hint_of_shape(labels: NDArray[Any], count: int) -> str:
    """What a table of labels may be, and what to do about it."""
    if labels.shape == (count, 1):
        return "; give labels[:, 0]"
    if labels.ndim != 2 or len(labels) != count or labels.dtype.kind not in "biuf":
        return ""
    if not np.isin(labels, (0, 1)).all():
        return "; if these are scores of the classes give labels.argmax(axis=1)"
    if (labels.sum(axis=1) == 1).all():
        return "; this looks one-hot: give labels.argmax(axis=1)"
    return "; several labels an image (multi-label) cannot be trained yet"


def hint_of_type(labels: NDArray[Any]) -> str:
    """What to do about labels that are neither whole numbers nor text."""
    if labels.dtype.kind == "S":
        return "; give labels.astype(str)"
    if labels.dtype.kind != "f":
        return ""
    missing = np.flatnonzero(~np.isfinite(labels))
    if len(missing):
        return f"; {len(missing)} are no number, such as row {missing[0]}: leave out those images"
    if (labels == np.rint(labels)).all():
        return "; if they number classes give labels.astype(int)"
    return "; predicting a quantity (regression) is not there yet"


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
        which = many(len(unknown), "label that is", "labels that are")
        hint = nearest(str(labels[unknown[0]]), map(str, values))
        lines = [f"row {row}: {labels[row]}" for row in unknown]
        raise UserError(f"{key} has {which} no class ({hint}):\n{first_ten(lines)}")
    return codes
