import weakref

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss
from torch.overrides import TorchFunctionMode

from expkit.feed.loading import Batch
from expkit.trainer import evaluate


def random_answers(classes: int, items: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(items, classes, generator=generator), torch.randint(classes, (items,), generator=generator)


@pytest.mark.parametrize(("classes", "items"), [(2, 1), (3, 7), (10, 200), (40, 30)])
def test_metrics_are_those_of_scikit_learn(classes, items):
    logits, labels = random_answers(classes, items, seed=classes)
    halves = [Batch(logits[: items // 2], labels[: items // 2]), Batch(logits[items // 2 :], labels[items // 2 :])]
    found = evaluate.evaluate(lambda batch: batch.images, halves, classes)
    guesses = logits.argmax(dim=1)
    assert found.metrics["valid_accuracy"] == pytest.approx(accuracy_score(labels, guesses))
    assert found.metrics["valid_error_rate"] == pytest.approx(1 - accuracy_score(labels, guesses))
    assert found.metrics["valid_f1"] == pytest.approx(f1_score(labels, guesses, average="macro"))
    loss = log_loss(labels, logits.double().softmax(dim=1), labels=range(classes))
    assert found.metrics["valid_loss"] == pytest.approx(loss, rel=1e-5)
    assert found.predictions.tolist() == guesses.tolist()


def test_confusion_has_a_row_for_each_label():
    labels, guesses = np.array([0, 0, 1, 2]), np.array([0, 2, 1, 2])
    found = evaluate.confusion_matrix(labels, guesses, 4)
    assert found.tolist() == confusion_matrix(labels, guesses, labels=range(4)).tolist()


class Joined(TorchFunctionMode):
    """Knows which tensors that `torch.cat` made are still there."""

    def __init__(self) -> None:
        self.alive: list[weakref.ref[torch.Tensor]] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if function is torch.cat:
            self.alive = [one for one in [*self.alive, weakref.ref(made)] if one() is not None]
        return made


@pytest.mark.parametrize("views", [3, 16])
def test_views_are_averaged_one_by_one(views):
    """However many there are, no more than a sum and one of them is held."""
    held = []

    def logits_of(batch: Batch) -> torch.Tensor:
        held.append(sum(one() is not None for one in joined.alive))
        return torch.zeros(len(batch.labels), 3)

    batch = Batch(torch.zeros(4, 3, 2, 2), torch.tensor([0, 1, 2, 0]))
    with Joined() as joined:
        evaluate.evaluate_views(logits_of, [batch], ([batch] for _ in range(views)), 3)
    assert len(held) == views + 1
    assert max(held) <= 4, "the probabilities and labels of the sum and of a view"
