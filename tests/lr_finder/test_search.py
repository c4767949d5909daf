"""The LR finder's search: fastai's numbers, and everything afterwards as it was before."""

import copy
import logging
import math
import random

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

from expkit import model as models
from expkit import optim
from expkit.config.lr_find import LrFind
from expkit.errors import UserError
from expkit.feed.loading import Batch, TensorLoader
from expkit.lr_finder.search import find_lr, search_lr
from expkit.lr_finder.suggestions import suggestions
from expkit.run_folder import RunFolder
from expkit.sched import one_cycle
from expkit.trainer import default
from expkit.trainer.loop import Stopped, Trainer
from expkit.trainer.precision import is_native
from expkit.transfer import Phase
from expkit.whole_files import read_json
from tests.optim.tiny import Tiny, golden, tiny_from


class InOrder:
    """The batches of the reference values: four rows each, in order, every epoch alike."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x, self.y, self.batches = x, y, len(y) // 4

    def stream(self, epoch, batch, epochs):
        for position in range(epoch * self.batches + batch, epochs * self.batches):
            rows = slice(4 * (position % self.batches), 4 * (position % self.batches) + 4)
            yield Batch(self.x[rows], self.y[rows])

    def __iter__(self):
        return self.stream(0, 0, 1)

    def close(self):
        pass


def reference() -> tuple[Trainer, InOrder]:
    policies = golden("fastai.json")["policies"]
    model = tiny_from(policies["init"])
    trainer = default(model, optim.adam(model, wd=0.03), 3, 0, device="cpu", precision="fp32")
    return trainer, InOrder(torch.tensor(policies["X"]), torch.tensor(policies["Y"]))


def test_the_search_gives_the_numbers_of_fastai():
    case = golden("fastai.json")["lr_find"]
    trainer, train = reference()
    before, peaks = everything(trainer), [1e-3, 1e-3, 1e-3]
    curve = search_lr(trainer, train, peaks, start_lr=case["start_lr"], end_lr=case["end_lr"], num_it=case["num_it"])
    assert curve.lrs == pytest.approx(case["lrs"], rel=1e-5)
    assert curve.smoothed == pytest.approx(case["losses"], rel=1e-4)
    assert suggestions(curve, "valley") == pytest.approx(case["suggest"], rel=1e-5)
    assert same(before, everything(trainer)) is case["restored"]


def features(count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (count,), generator=generator)
    x = torch.randn(count, 6, generator=generator)
    x[:, :3] += 3 * nn.functional.one_hot(labels)
    return x, labels


def pictures(count: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (count,), generator=generator)
    pixels = torch.randint(100, (count, 32, 32, 3), generator=generator)
    pixels[torch.arange(count), :, :, labels] += 120
    return pixels.to(torch.uint8), labels


def make(kind: str, optimizer=optim.adam, precision: str = "fp32", **settings) -> tuple[Trainer, TensorLoader]:
    """A trainer and its batches: a perceptron with dropout on features, or a resnet on pictures."""
    torch.manual_seed(1)
    if kind == "features":
        model, data, size = Tiny(), features(), None
        model.b.append(nn.Dropout(0.5))
    else:
        model, data, size = models.resnet18(3, weights=None), pictures(), 32
    train = TensorLoader(*data, batch_size=16, seed=3, train=True)
    built = optimizer(model, lr=0.01, **settings)
    return default(model, built, 3, 3, size, device="cpu", precision=precision), train


def everything(trainer: Trainer) -> dict[str, object]:
    """All that a search could have changed, copied."""
    model, optimizer = trainer.model, trainer.optimizer
    return copy.deepcopy(
        {
            "parameters": dict(model.named_parameters()),
            "gradients": {name: p.grad for name, p in model.named_parameters()},
            "trains": {name: p.requires_grad for name, p in model.named_parameters()},
            "strides": {name: p.stride() for name, p in model.named_parameters()},
            "buffers": dict(model.named_buffers()),
            "modes": {name: module.training for name, module in model.named_modules()},
            "optimizer": optimizer.state_dict(),
            "hypers": trainer.hypers.read(),
            "tracked": trainer.hypers.tracked,
            "state": trainer.state,
            "torch": torch.get_rng_state(),
            "numpy": np.random.get_state(),
            "python": random.getstate(),
        }
    )


def same(one: object, other: object) -> bool:
    """Whether two nested values are equal bit by bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):  # a hyperparameter of a frozen group
        return isinstance(other, float) and math.isnan(other)
    return one == other


def fit(trainer: Trainer, train: TensorLoader, phase: Phase) -> None:
    trainer.fit(phase, one_cycle([0.01] * 3, phase.epochs), train, train)


HALF = pytest.param("images", "bf16", marks=pytest.mark.skipif(not is_native(torch.device("cpu")), reason="no bf16"))


@pytest.mark.parametrize(("kind", "precision"), [("features", "fp32"), ("images", "fp32"), HALF])
@pytest.mark.parametrize("trained", [0, 1])
def test_training_after_a_search_gives_the_same_bits_as_without(kind, precision, trained):
    results = []
    for searches in (False, True):
        trainer, train = make(kind, precision=precision)
        for _ in range(trained):
            fit(trainer, train, Phase("head", 1, trains=1))
        trainer.prepare(Phase("all", 1))
        if searches:
            before = everything(trainer)
            curve = search_lr(trainer, train, [0.01] * 3, num_it=20, end_lr=1.0)
            assert np.ptp(curve.losses) > 0
            assert same(before, everything(trainer))
        fit(trainer, train, Phase("all", 1))
        results.append((trainer.state_dict()["model"], trainer.state_dict()["optimizer"], trainer.state.step))
    assert same(*results)


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        (optim.sgd, {}),
        (optim.nadam, {}),
        (optim.adagrad, {}),
        (optim.rmsprop, {}),
        (optim.lamb, {}),
        (optim.torch, {"name": "Adadelta"}),
    ],
)
def test_every_optimizer_is_put_back(optimizer, settings):
    trainer, train = make("features", optimizer, **settings)
    fit(trainer, train, Phase("all", 1))
    before = everything(trainer)
    search_lr(trainer, train, [0.01] * 3, num_it=30)
    assert same(before, everything(trainer))


@pytest.mark.parametrize("train_bn", [True, False, "eval"])
def test_frozen_groups_stay_frozen_while_it_searches_and_after(train_bn):
    trainer, train = make("features", train_bn=train_bn)
    trainer.prepare(Phase("head", 1, trains=1))
    trainer.model.c.bias.requires_grad_(False)  # frozen by hand
    frozen = trainer.model.a[0].weight
    weight, before, seen = frozen.detach().clone(), everything(trainer), []
    search_lr(trainer, train, [0.01] * 3, num_it=25, watch=lambda *step: seen.append(torch.equal(frozen, weight)))
    assert seen == [True] * 25
    assert same(before, everything(trainer))


def test_rates_of_all_groups_rise_together_and_all_else_stays():
    trainer, train = make("features")
    peaks, rows = [0.001, 0.02, 0.1], []
    before = trainer.hypers.read()
    curve = search_lr(trainer, train, peaks, num_it=25, watch=lambda *step: rows.append(trainer.hypers.read()))
    columns = dict(zip(trainer.hypers.columns, np.array(rows).T, strict=True))
    for group, peak in enumerate(peaks):
        assert columns[f"lr_{group}"] == pytest.approx(curve.lrs * peak / 0.1)
    assert curve.lrs == pytest.approx(np.geomspace(1e-7, 10, 26)[:-1])
    others = [i for i, name in enumerate(trainer.hypers.columns) if not name.startswith("lr_")]
    assert all([row[i] for i in others] == [before[i] for i in others] for row in rows)


def test_a_search_goes_on_into_further_epochs_from_where_training_stands():
    trainer, train = make("features")
    trainer.state.epochs = 2
    asked = []
    stream = train.stream
    train.stream = lambda *places: (asked.append(places), stream(*places))[1]
    curve = search_lr(trainer, train, [0.01] * 3, num_it=30, end_lr=1e-3)
    assert len(curve.lrs) == 30  # of 12 batches an epoch
    assert asked == [(2, 0, 5)]


def test_dropout_is_drawn_anew_at_each_step_also_after_a_validation():
    trainer, train = make("features")
    trainer.evaluate(train)
    one_batch = InOrder(train.images[:4], train.labels[:4])
    curve = search_lr(trainer, one_batch, [0.01] * 3, num_it=20, start_lr=1e-12, end_lr=1e-11)
    assert len(set(curve.losses.round(3))) > 10


def test_it_ends_where_the_loss_diverges():
    trainer, train = make("features", optim.sgd)
    curve = search_lr(trainer, train, [0.01] * 3, num_it=200, end_lr=1e6)
    assert len(curve.lrs) < 200
    assert curve.smoothed[-1] > 4 * curve.smoothed[:-1].min()
    assert all(curve.smoothed[:-1] <= 4 * np.minimum.accumulate(curve.smoothed[:-1]))


class Spoilt:
    """Batches of which those from the given one on are NaN."""

    def __init__(self, train: TensorLoader, first: int) -> None:
        self.train, self.first, self.batches = train, first, train.batches

    def stream(self, *places):
        for number, batch in enumerate(self.train.stream(*places)):
            yield batch if number < self.first else Batch(batch.images * math.nan, batch.labels)


def test_nan_losses_are_dropped_and_leave_nothing_behind():
    trainer, train = make("features")
    before = everything(trainer)
    curve = search_lr(trainer, Spoilt(train, 60), [0.01] * 3, end_lr=0.1)
    assert same(before, everything(trainer))
    whole = search_lr(trainer, train, [0.01] * 3, end_lr=0.1)
    assert math.isnan(curve.losses[-1])
    assert len(curve.lrs) == 61
    assert curve.smoothed[curve.kept].tolist() == whole.smoothed[10:60].tolist()
    assert all(1e-7 <= lr <= 0.1 for lr in suggestions(curve, "valley").values())


def test_nothing_but_nan_is_an_error_that_says_what_to_change():
    trainer, train = make("features")
    before = everything(trainer)
    with pytest.raises(UserError, match=r"became NaN at step 1 of 100.*precision=fp32.*batch_size"):
        suggestions(search_lr(trainer, Spoilt(train, 0), [0.01] * 3), "valley")
    assert same(before, everything(trainer))


def test_a_stop_or_an_error_puts_everything_back():
    trainer, train = make("features")
    before = everything(trainer)

    def stop(number, lr, loss):
        trainer.stop.signal = 15 if number == 3 else 0

    with pytest.raises(Stopped):
        search_lr(trainer, train, [0.01] * 3, watch=stop)
    assert same(before, everything(trainer))
    trainer.stop.signal = 0

    def fail(number, lr, loss):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search_lr(trainer, train, [0.01] * 3, watch=fail)
    assert same(before, everything(trainer))


def test_find_lr_scales_the_suggestion_and_leaves_its_record(tmp_path, caplog):
    trainer, train = make("features")
    folder = RunFolder(tmp_path, "features")
    settings = LrFind(start_lr=1e-7, end_lr=10.0, num_it=60, suggest="steep", scale=0.1)
    with caplog.at_level(logging.INFO, logger="expkit"):
        lr = find_lr(trainer, train, [0.01] * 3, settings, folder)
    result = read_json(tmp_path / "lr_find.json")
    assert set(result["suggestions"]) == {"valley", "slide", "minimum", "steep"}
    assert result["lr"] == lr == result["suggestions"]["steep"] * 0.1
    (line,) = [record.getMessage() for record in caplog.records]
    assert all(f"{way} {rate:.3g}" in line for way, rate in result["suggestions"].items())
    assert f"lr_find.suggest=steep, lr_find.scale=0.1: {lr:.3g}" in line
    curve = pq.read_table(tmp_path / "lr_find.parquet").to_pydict()
    assert curve["step"] == list(range(result["steps"]))
    assert Image.open(tmp_path / "plots" / "lr_find.png").width > 600
    lines = folder.metrics.read_text().splitlines()
    find_lr(trainer, train, [0.01] * 3, settings, folder)  # as a killed and resumed run does
    assert folder.metrics.read_text().splitlines() == lines
    trainer.state.found["head"] = lr
    find_lr(trainer, train, [0.01] * 3, settings, folder)  # for a later phase
    assert len(folder.metrics.read_text().splitlines()) == 2 * len(lines)
    assert read_json(tmp_path / "lr_find_2.json") == result
