"""Each optimizer of the config trains the digits."""

from pathlib import Path

import pytest

from expkit.run_folder import RunFolder
from expkit.task.training import train_phases
from expkit.wiring import assemble
from tests.conftest import ROOT, SMALL_MODEL

OPTIMIZERS = sorted(path.stem for path in Path(ROOT, "conf", "optim").glob("*.yaml"))
SMALL = ("data=digits", "image_size=16", "batch_size=32", "epochs=4", *SMALL_MODEL)
CHOICES = {"torch": ["optim.name=NAdam", "optim.lr=0.003"], "sgd": ["optim.lr=0.03"], "lamb": ["optim.lr=0.01"]}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_digits_are_learnt(config_of, name, tmp_path):
    config = config_of(*SMALL, f"optim={name}", *CHOICES.get(name, []))
    run = assemble(config)
    _, valid = run.feed.batches(run.recipe.phases[0])
    assert run.trainer.evaluate(valid).metrics["valid_accuracy"] < 0.3
    train_phases(run, RunFolder(tmp_path, "test"))
    assert run.trainer.evaluate(valid).metrics["valid_accuracy"] > 0.8
