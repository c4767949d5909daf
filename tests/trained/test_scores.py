"""Scores against scikit-learn's own and values made by hand."""

import time

import numpy as np
import pytest
import sklearn.metrics as metrics
import torch

from expkit.trained.scores import calibration_error, intervals, scores_of
from expkit.trainer.evaluate import measure

NAMES = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]


def measured(logits, labels):
    logits, labels = torch.as_tensor(logits, dtype=torch.float32), torch.as_tensor(labels)
    found = measure([(logits, labels)], logits.shape[1])
    return found, logits.softmax(dim=1).numpy()


def drawn(count=400, classes=7, seed=0, signal=1.5):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, count)
    logits = draw.normal(size=(count, classes))
    logits[np.arange(count), labels] += signal
    return measured(logits, labels)


def score(found, chances, names=NAMES, **keys):
    return scores_of(found, chances, names, **({"top_k": 3, "resamples": 0, "seed": 0} | keys))


def test_scores_are_those_of_scikit_learn():
    found, chances = drawn()
    labels, guesses = found.labels, found.predictions
    numbers = range(7)
    exact = chances / chances.sum(axis=1, keepdims=True, dtype=np.float64)
    one_hot = np.eye(7)[labels]
    expected = {
        "loss": metrics.log_loss(labels, exact, labels=numbers),
        "accuracy": metrics.accuracy_score(labels, guesses),
        "error_rate": 1 - metrics.accuracy_score(labels, guesses),
        "top3_accuracy": metrics.top_k_accuracy_score(labels, chances, k=3, labels=numbers),
        "roc_auc": metrics.roc_auc_score(labels, exact, multi_class="ovr", average="macro"),
        "average_precision": metrics.average_precision_score(one_hot, chances, average="macro"),
        "brier": ((exact - one_hot) ** 2).sum(axis=1).mean(),
    }
    for average in ("macro", "weighted"):
        expected[f"precision_{average}"] = metrics.precision_score(labels, guesses, average=average)
        expected[f"recall_{average}"] = metrics.recall_score(labels, guesses, average=average)
        expected[f"f1_{average}"] = metrics.f1_score(labels, guesses, average=average)
    scores = score(found, chances)
    assert scores["metrics"].pop("ece") > 0
    assert scores["metrics"] == pytest.approx(expected, rel=1e-6)
    report = metrics.classification_report(labels, guesses, target_names=NAMES, output_dict=True)
    for row in scores["by_class"]:
        own = report[row["class"]]
        assert [row["precision"], row["recall"], row["f1"], row["images"]] == pytest.approx(
            [own["precision"], own["recall"], own["f1-score"], own["support"]]
        )


def test_a_class_without_images_is_named_and_counts_nowhere():
    # Of ant and bee there are images; one ant is taken for a cat, of which there is none.
    logits = np.log([[0.8, 0.1, 0.1], [0.2, 0.1, 0.7], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]])
    scores = score(*measured(logits, [0, 0, 1, 1]), names=["ant", "bee", "cat"])
    assert scores["without_images"] == ["cat"]
    assert scores["metrics"]["recall_macro"] == pytest.approx(0.75)
    assert scores["metrics"]["f1_macro"] == pytest.approx((2 / 3 + 1) / 2)
    ant, _, cat = scores["by_class"]
    assert ant == {"class": "ant", "images": 2, "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3)} | {
        name: ant[name] for name in ("roc_auc", "average_precision")
    }
    assert cat == {"class": "cat", "images": 0} | dict.fromkeys(
        ("precision", "recall", "f1", "roc_auc", "average_precision")
    )
    assert scores["confused"] == [{"label": "ant", "prediction": "cat", "images": 1, "share": 0.5}]


def test_images_of_one_class_have_no_curves():
    scores = score(*measured([[2.0, 1.0], [0.0, 1.0]], [0, 0]), names=["ant", "bee"], resamples=50)
    assert "roc_auc" not in scores["metrics"]
    assert scores["metrics"]["accuracy"] == 0.5
    assert scores["never_predicted"] == []
    assert "top3_accuracy" not in scores["metrics"], "there are two classes"


def test_the_pairs_that_are_confused_most_come_first():
    labels = [0] * 10 + [1] * 10
    guesses = [0] * 6 + [1] * 1 + [2] * 3 + [1] * 8 + [0] * 2
    logits = np.full((20, 3), 0.0)
    logits[np.arange(20), guesses] = 5
    scores = score(*measured(logits, labels), names=["ant", "bee", "cat"])
    told = [(one["label"], one["prediction"], one["images"], one["share"]) for one in scores["confused"]]
    assert told == [("ant", "cat", 3, 0.3), ("bee", "ant", 2, 0.2), ("ant", "bee", 1, 0.1)]


def test_calibration_error_by_hand():
    # Two bins of 15: three images at 0.9, of which two are right; one at 0.5, wrong.
    confidences = np.array([0.9, 0.9, 0.9, 0.5], dtype=np.float32)
    right = np.array([True, True, False, False])
    assert calibration_error(confidences, right) == pytest.approx((3 * 0.9 - 2 + 0.5) / 4)
    assert calibration_error(np.ones(3, np.float32), np.ones(3, bool)) == 0


def test_bootstrap_intervals_are_as_wide_as_theory_says():
    found, chances = drawn(2000)
    scores = score(found, chances, resamples=1000)
    accuracy = scores["metrics"]["accuracy"]
    low, high = scores["intervals"]["accuracy"]
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / 2000)
    assert [accuracy - low, high - accuracy] == pytest.approx([half, half], rel=0.1)
    assert {"loss", "accuracy", "error_rate", "top3_accuracy", "brier", "f1_macro", "recall_weighted"} <= set(
        scores["intervals"]
    )
    for name, (low, high) in scores["intervals"].items():
        assert low < scores["metrics"][name] < high
    assert score(found, chances, resamples=1000)["intervals"] == scores["intervals"]
    assert score(found, chances, resamples=1000, seed=1)["intervals"] != scores["intervals"]


def test_a_bootstrap_sample_that_holds_each_image_once_gives_the_metrics():
    found, _ = drawn(60)

    class Once:
        def integers(self, low, high, size, dtype):
            return np.arange(size)

    columns = {"loss": found.losses.astype(np.float64), "accuracy": (found.labels == found.predictions) * 1.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "default_rng", lambda seed: Once())
        drawn_once = intervals(columns, found.labels, found.predictions, 7, 1, 0)
    guesses = found.predictions
    for average in ("macro", "weighted"):
        own = metrics.precision_recall_fscore_support(found.labels, guesses, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), own, strict=False):
            assert drawn_once[f"{name}_{average}"] == pytest.approx([value, value])
    assert drawn_once["loss"] == pytest.approx([found.metrics["valid_loss"]] * 2)


def test_a_hundred_thousand_images_take_seconds():
    found, _ = drawn(100_000)
    columns = {name: np.random.default_rng(0).random(100_000) for name in ("loss", "accuracy", "brier")}
    began = time.process_time()
    intervals(columns, found.labels, found.predictions, 7, 100, 0)
    assert time.process_time() - began < 5, "a tenth of the usual number of samples"
