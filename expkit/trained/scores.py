"""How good predictions are: scikit-learn's sums over N images of C classes, with bootstrap intervals."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expkit.trainer.evaluate import Evaluation, confusion_matrix

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

BINS = 15
"""Bins of confidence in the expected calibration error, as in Guo et al. (2017)."""
PAIRS = 10
"""So many pairs of classes are told that are confused most."""
Z = 1.959964
"""The 97.5% quantile of the normal distribution."""
AVERAGES = ("macro", "weighted")
"""Over classes: each alike, or by its images."""


def scores_of(
    found: Evaluation, chances: NDArray[np.float32], classes: Sequence[str], *, top_k: int, resamples: int, seed: int
) -> dict[str, Any]:
    """All scores of predictions, as plain values; `chances` are the probabilities, N x C.

    Means over classes are over those that have images, which are named where that is not all. `resamples` bootstrap
    samples give the 95% intervals, 0: none. Sums over curves (roc_auc, average_precision) are one class against the
    rest. `brier` is the sum over classes of Brier (1950), 0 to 2.
    """
    labels, guesses = found.labels, found.predictions
    matrix = confusion_matrix(labels, guesses, len(classes))
    images = matrix.sum(axis=1)
    present = np.flatnonzero(images)
    columns = per_image(found, chances, top_k)
    by_class = of_classes(labels, guesses, chances, present)
    curves = {name: mean_of(by_class[name]) for name in ("roc_auc", "average_precision")}
    metrics = {
        "loss": found.metrics["valid_loss"],
        "accuracy": found.metrics["valid_accuracy"],
        "error_rate": found.metrics["valid_error_rate"],
        **{name: float(columns[name].mean()) for name in columns if name.startswith("top")},
        **averages(labels, guesses, present),
        **{name: value for name, value in curves.items() if value is not None},
        "brier": float(columns["brier"].mean()),
        "ece": calibration_error(found.confidences, labels == guesses),
    }
    return {
        "images": len(labels),
        "classes": len(classes),
        "without_images": [classes[number] for number in np.flatnonzero(images == 0).tolist()],
        "never_predicted": [classes[number] for number in present.tolist() if not matrix[:, number].any()],
        "metrics": metrics,
        "intervals": intervals(columns, labels, guesses, len(classes), resamples, seed) if resamples else {},
        "by_class": [
            {"class": classes[number], "images": int(images[number])}
            | {name: by_class[name].get(number) for name in by_class}
            for number in range(len(classes))
        ],
        "confused": confused(matrix, classes),
    }


def per_image(found: Evaluation, chances: NDArray[np.float32], top_k: int) -> dict[str, Floats]:
    """The numbers of each image whose mean is a metric; of the `top_k` classes only where there are more."""
    own = np.take_along_axis(chances, found.labels[:, None], axis=1)
    squares = np.einsum("ij,ij->i", chances, chances, dtype=np.float64)
    columns = {
        "loss": found.losses.astype(np.float64),
        "accuracy": (found.labels == found.predictions).astype(np.float64),
        "brier": squares - 2 * own[:, 0].astype(np.float64) + 1,
    }
    if 1 < top_k < chances.shape[1]:
        columns[f"top{top_k}_accuracy"] = ((chances > own).sum(axis=1) < top_k).astype(np.float64)
    return columns


def of_classes(
    labels: Numbers, guesses: Numbers, chances: NDArray[np.float32], present: Numbers
) -> dict[str, dict[int, float]]:
    """Precision, recall, F1, ROC AUC and average precision of each class that has images, by its number.

    A class that is never predicted has precision 0. The curves need an image of another class.
    """
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

    sums = precision_recall_fscore_support(labels, guesses, labels=present, average=None, zero_division=0)
    found = {
        name: dict(zip(present.tolist(), column.tolist(), strict=True))
        for name, column in zip(("precision", "recall", "f1"), sums, strict=False)
    }
    curves = present.tolist() if len(present) > 1 else []
    found["roc_auc"] = {number: float(roc_auc_score(labels == number, chances[:, number])) for number in curves}
    found["average_precision"] = {
        number: float(average_precision_score(labels == number, chances[:, number])) for number in curves
    }
    return found


def mean_of(values: Mapping[int, float]) -> float | None:
    """The mean over classes; None where there are none."""
    return float(np.mean(list(values.values()))) if values else None


def averages(labels: Numbers, guesses: Numbers, present: Numbers) -> dict[str, float]:
    """Precision, recall and F1 over the classes that have images: `f1_macro`, `f1_weighted` and so on."""
    from sklearn.metrics import precision_recall_fscore_support

    found = {}
    for average in AVERAGES:
        sums = precision_recall_fscore_support(labels, guesses, labels=present, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), sums, strict=False):
            found[f"{name}_{average}"] = float(value)
    return found


def calibration_error(confidences: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """How far confidence and accuracy are apart, on average over images in bins of confidence (Guo et al., 2017)."""
    bins = np.minimum((confidences * BINS).astype(np.int64), BINS - 1)
    trust = np.bincount(bins, weights=confidences, minlength=BINS)
    hits = np.bincount(bins, weights=right, minlength=BINS)
    return float(np.abs(trust - hits).sum() / len(right))


def confused(matrix: Numbers, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The pairs of classes that are confused most: how many images of one are taken for another, and what share."""
    wrong = matrix - np.diag(matrix.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    return [
        {
            "label": classes[row],
            "prediction": classes[column],
            "images": int(wrong[row, column]),
            "share": float(wrong[row, column] / matrix[row].sum()),
        }
        for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[row, column]
    ]


def share_interval(share: float, images: int) -> tuple[float, float]:
    """Where a share lies, 95 times of 100, of which `images` images are a sample (Wilson, 1927).

    It holds for a small sample and a faultless one, too.
    """
    spread = Z**2 / images
    middle = share + spread / 2
    reach = Z * math.sqrt(share * (1 - share) / images + spread / images / 4)
    return (max(0.0, (middle - reach) / (1 + spread)), min(1.0, (middle + reach) / (1 + spread)))


def intervals(
    columns: Mapping[str, Floats], labels: Numbers, guesses: Numbers, classes: int, resamples: int, seed: int
) -> dict[str, list[float]]:
    """The 2.5% and 97.5% quantiles of metrics over bootstrap samples of the images (Efron, 1979)."""
    draw, count = np.random.default_rng(seed), len(labels)
    values = np.stack(list(columns.values()))
    right = (labels == guesses).astype(np.float64)
    drawn: list[dict[str, float]] = []
    for _ in range(resamples):
        times = np.bincount(draw.integers(0, count, count, dtype=np.int32), minlength=count).astype(np.float64)
        means = dict(zip(columns, (values @ times / count).tolist(), strict=True))
        hits = np.bincount(labels, times * right, classes)
        images, taken = np.bincount(labels, times, classes), np.bincount(guesses, times, classes)
        drawn.append(means | {"error_rate": 1 - means["accuracy"]} | averages_of(hits, images, taken))
    names = list(drawn[0])
    low, high = np.quantile([list(one.values()) for one in drawn], (0.025, 0.975), axis=0)
    return {name: [float(low[place]), float(high[place])] for place, name in enumerate(names)}


def averages_of(hits: NDArray[Any], images: NDArray[Any], taken: NDArray[Any]) -> dict[str, float]:
    """What `averages` gives, from counts of each class: told rightly, all images of it, all taken for it."""
    seen = images > 0
    hits, images, taken = hits[seen], images[seen], taken[seen]
    sums = {
        "precision": hits / np.maximum(taken, 1),
        "recall": hits / images,
        "f1": 2 * hits / (images + taken),
    }
    share = images / images.sum()
    return {
        f"{name}_{average}": float(value.mean() if average == "macro" else value @ share)
        for average in AVERAGES
        for name, value in sums.items()
    }
