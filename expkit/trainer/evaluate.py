"""A model measured on labelled images: metrics, and the prediction for each image."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from expkit.feed.loading import Batch

PLAIN = 0.25
"""Share of the image as it is in test-time augmentation."""


@dataclass(frozen=True)
class Evaluation:
    """What a model makes of N images, in their order."""

    metrics: dict[str, float]
    """valid_loss, valid_accuracy, valid_error_rate, valid_f1 (macro)."""
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    confidences: NDArray[np.float32]
    """Probability that the model gives to its prediction."""
    losses: NDArray[np.float32]


LogitsOf = Callable[[Batch], Tensor]
"""A model: float32 logits, one row an image, on any device."""


@torch.inference_mode()
def evaluate(logits_of: LogitsOf, batches: Iterable[Batch], classes: int) -> Evaluation:
    """Run a model over all batches."""
    return measure(((logits_of(batch), batch.labels) for batch in batches), classes)


@torch.inference_mode()
def evaluate_views(
    logits_of: LogitsOf, plain: Iterable[Batch], views: Iterable[Iterable[Batch]], classes: int
) -> Evaluation:
    """Test-time augmentation: average the probabilities over augmented views of the images of `plain`."""
    return measure([averaged(logits_of, plain, views)], classes)


@torch.inference_mode()
def averaged(
    logits_of: LogitsOf,
    plain: Iterable[Batch],
    views: Iterable[Iterable[Batch]],
    *,
    beta: float = PLAIN,
    use_max: bool = False,
) -> tuple[Tensor, Tensor]:
    """Logarithms of probabilities, averaged over augmented views of the images of `plain`, N x C; and N labels.

    The images as they are count `beta` beside the mean of the views, as in fastai's `tta`; with `use_max`, each class
    has its largest probability in any of all, so that they no longer add up to 1. Holds three times N x C numbers,
    however many views there are.
    """
    total, count = None, 0
    for view in views:
        found, _ = probabilities(logits_of, view)
        if total is None:
            total = found
        elif use_max:
            total = torch.maximum(total, found)
        else:
            total.add_(found)
        count += 1
    assert total is not None
    own, labels = probabilities(logits_of, plain)
    mixed = torch.maximum(total, own) if use_max else total.div_(count).lerp_(own, beta)
    return mixed.log_(), labels


def probabilities(logits_of: LogitsOf, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """N x C probabilities and N labels, on the CPU."""
    parts = [(logits_of(batch).softmax(dim=1).cpu(), batch.labels) for batch in batches]
    return torch.cat([part for part, _ in parts]), torch.cat([labels for _, labels in parts])


def measure(answers: Iterable[tuple[Tensor, Tensor]], classes: int) -> Evaluation:
    """Compare logits, or logarithms of probabilities, with labels, batch by batch."""
    columns: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for logits, labels in answers:
        labels = labels.to(logits.device)
        confidence, prediction = logits.softmax(dim=1).max(dim=1)
        columns.append((labels, prediction, confidence, F.cross_entropy(logits, labels, reduction="none")))
    label, guess, chance, loss = (torch.cat(column).cpu().numpy() for column in zip(*columns, strict=True))
    accuracy = float((label == guess).mean())
    metrics = {
        "valid_loss": float(loss.mean(dtype=np.float64)),
        "valid_accuracy": accuracy,
        "valid_error_rate": 1 - accuracy,
        "valid_f1": macro_f1(confusion_matrix(label, guess, classes)),
    }
    return Evaluation(metrics, label, guess, chance, loss)


def confusion_matrix(labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts of images, classes x classes: a row for each label, a column for each prediction."""
    return np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """The mean F1 over the classes that occur as label or prediction (scikit-learn's f1_score, average="macro")."""
    hits = confusion.diagonal()
    seen = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(2 * hits[seen > 0] / seen[seen > 0]))
