"""Each optimizer of the config trains the digits."""

from pathlib import Path

import pytest

from expkit.run import assemble, build
from tests.conftest import ROOT

OPTIMIZERS = sorted(path.stem for path in Path(ROOT, "conf", "optim").glob("*.yaml"))
CHOICES = {"torch": ["optim.name=NAdam", "optim.lr=0.003"], "sgd": ["optim.lr=0.03"], "lamb": ["optim.lr=0.01"]}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_digits_are_learnt(config_of, name):
    config = config_of("data=digits", "image_size=16", "epochs=3", f"optim={name}", *CHOICES.get(name, []))
    run = assemble(config)
    assert run.trainer.evaluate().metrics["valid_accuracy"] < 0.3
    (phase,) = run.phases
    run.trainer.fit(phase, build(config.sched, run.peaks, phase.epochs))
    assert run.trainer.evaluate().metrics["valid_accuracy"] > 0.6
