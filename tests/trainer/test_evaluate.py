import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss

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
