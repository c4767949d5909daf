"""Without a terminal, a long epoch says how far it is once a minute."""

import time
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from expkit.bar import PAUSES
from expkit.data.images.pace import telling
from expkit.features.progress import counting
from expkit.record.progress import SHOWN, ProgressBar, in_line
from expkit.task.searching import bar
from expkit.trainer.loop import State
from tests.trainer.test_loop import small_loaders, small_trainer


@pytest.fixture
def trainer():
    return SimpleNamespace(state=State())


def test_an_epoch_of_minutes_is_told_of_once_a_minute_and_a_short_one_is_not(trainer, capsys, monkeypatch):
    bar = ProgressBar(None, epochs=2, epoch_steps=500, images=100)
    bar.start(trainer)
    began = time.monotonic()
    for second in range(200):
        monkeypatch.setattr(time, "monotonic", lambda second=second: began + second)
        trainer.state.step = second + 1
        bar.after_step(trainer, torch.tensor(0.25))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 200 // PAUSES["lines"]
    assert lines[0].startswith("epoch 1/2  step 61/1000  loss 0.2500  1.0 steps/s  15 min")
    assert lines[0].endswith(" left")


def test_rows_of_epochs_fit_a_terminal_and_stand_below_their_head():
    bar = ProgressBar(None, epochs=1000, epoch_steps=6, images=160)
    row = {"epoch": "7/1000", **dict.fromkeys(SHOWN, "31.0839"), "time": "2 min 05 s"}
    head, first = bar.under_head(row).splitlines()
    assert max(len(head), len(first), len(bar.under_head(row))) <= 80
    assert [head.index(name) + len(name) for name in SHOWN] == [
        place + 7 for place in range(len(first)) if first.startswith("31.0839", place)
    ]
    assert in_line(row).startswith("epoch 7/1000  train_loss 31.0839  ")


def test_a_validation_of_minutes_is_told_of_once_a_minute_and_a_short_one_is_not(capsys, monkeypatch):
    trainer = small_trainer()
    bar = ProgressBar(None, epochs=2, epoch_steps=6, images=160, views=1)
    trainer.observe([bar])
    began, clock = time.monotonic(), count()

    def slow(batches):
        for batch in batches:
            now = began + 20 * next(clock)
            monkeypatch.setattr(time, "monotonic", lambda now=now: now)
            yield batch

    valid = list(small_loaders(160, 16)[1])
    trainer.evaluate(valid)
    assert capsys.readouterr().out == ""
    trainer.evaluate(slow(valid))
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == f"epoch 1/2, validation: {sum(len(batch.labels) for batch in valid[:4])} of 160 images"
    assert len(rest) == (20 * (len(valid) - 1)) // PAUSES["lines"] - 1
    trainer.state.epochs = 2
    trainer.evaluate(valid, [slow(valid)])
    assert capsys.readouterr().out.startswith("evaluation over views: ")


def test_features_that_take_minutes_are_told_of_without_a_terminal(capsys, monkeypatch):
    began = time.monotonic()
    with counting("body on train", 1000) as counter:
        for second in (30, 61, 90):
            monkeypatch.setattr(time, "monotonic", lambda second=second: began + second)
            counter.add(100)
    assert capsys.readouterr().out.splitlines() == ["body on train: 200 of 1000 images, 3 images/s"]


def test_a_search_that_takes_minutes_is_told_of_without_a_terminal(capsys, monkeypatch):
    began = time.monotonic()
    with bar(100) as watch:
        for number, second in enumerate((30, 61, 90)):
            monkeypatch.setattr(time, "monotonic", lambda second=second: began + second)
            watch(number, 1e-5, 0.5)
    assert capsys.readouterr().out.splitlines() == ["LR finder: step 2/100  lr 1.0e-05  loss 0.5000"]


def test_a_look_at_many_files_is_told_of_without_a_terminal(capsys, monkeypatch):
    began = time.monotonic()
    with telling(1000) as tell:
        for second in (30, 61, 90):
            monkeypatch.setattr(time, "monotonic", lambda second=second: began + second)
            tell(100)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("looked at")]
    assert [line.split(" (")[0] for line in lines] == ["looked at 200 of 1,000 files"]
