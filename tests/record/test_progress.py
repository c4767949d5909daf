"""Without a terminal, a long epoch says how far it is once a minute."""

import time
from types import SimpleNamespace

import pytest
import torch

from expkit.record.progress import SILENCE, ProgressBar
from expkit.trainer.loop import State


@pytest.fixture
def trainer():
    return SimpleNamespace(state=State())


def test_an_epoch_of_minutes_is_told_of_once_a_minute_and_a_short_one_is_not(trainer, capsys, monkeypatch):
    bar = ProgressBar(None, epochs=2, epoch_steps=500)
    bar.start(trainer)
    began = time.monotonic()
    for second in range(200):
        monkeypatch.setattr(time, "monotonic", lambda second=second: began + second)
        trainer.state.step = second + 1
        bar.after_step(trainer, torch.tensor(0.25))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 200 // SILENCE
    assert lines[0].startswith("epoch 1/2  step 61/1000  loss 0.2500  1.0 steps/s  15 min")
    assert lines[0].endswith(" left")
