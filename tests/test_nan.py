"""A validation loss that is no number: the run goes on, says so, and the best epoch stays the best."""

import json
import math

import pytest
import torch

from expkit.record.checkpoint import best_epoch
from expkit.run_folder import RunFolder
from expkit.task.training import train
from expkit.trainer.loop import Trainer
from tests.conftest import PLAIN, SMALL_MODEL, composed

RUN = (
    *("+experiment=digits", *SMALL_MODEL, "image_size=16", "epochs=3", "data.classes=[0, 1]", *PLAIN),
    "num_workers=0",
)


def test_an_epoch_whose_loss_is_no_number_is_never_the_best():
    history = [{"valid_loss": 1.0, "valid_accuracy": 0.4}, {"valid_loss": math.nan, "valid_accuracy": 0.9}]
    assert [best_epoch(history, metric) for metric in ("valid_loss", "valid_accuracy")] == [1, 1]
    assert best_epoch(history[::-1], "valid_accuracy") == 2
    assert best_epoch([{"valid_loss": math.inf}, {"valid_loss": math.nan}], "valid_loss") == 1


@pytest.mark.parametrize(("at", "spoilt"), [("last", (2, 3)), ("best", (1, 2, 3))])
def test_a_run_that_validates_to_nan_ends_and_says_so(config_of, tmp_path, monkeypatch, capsys, at, spoilt):
    folder = RunFolder.create(tmp_path / "run", "test", composed(*RUN), [])
    config = config_of(*RUN, f"objective={{metric: valid_loss, mode: min, at: {at}}}")
    plain = Trainer.logits

    def logits(self, batch):
        found = plain(self, batch)
        return found if torch.is_grad_enabled() or self.state.epochs + 1 not in spoilt else found * math.nan

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "logits", logits)
        value = train(config, folder)
    out, err = capsys.readouterr()
    result = json.loads(folder.result.read_text())
    assert result["best_epoch"] == 1
    assert math.isnan(value) == (at == "last" or 1 in spoilt)
    assert "no number" in out
    assert err.count("the validation loss became nan in epoch") == 1
    assert "trainer.clip_norm=1" in err
