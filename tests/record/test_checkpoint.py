"""Checkpoints that were made by hand, or half: a run goes on from the whole of its state, or not at all."""

import pytest
import torch

from expkit.errors import UserError
from expkit.interrupt import Stopped
from expkit.record.checkpoint import load_checkpoint
from expkit.run_folder import RunFolder
from expkit.task.training import restore
from expkit.whole_files import write_json
from tests.trainer.test_loop import PHASES, StopAt, fit, small_trainer

STEPS = 6
"""Steps an epoch."""


@pytest.fixture
def folder(tmp_path):
    """The folder of a run that was stopped in its second epoch."""
    trainer, folder = small_trainer(), RunFolder(tmp_path / "run", "toy")
    trainer.observe([StopAt(8)])
    with pytest.raises(Stopped):
        fit(trainer, *PHASES)
    folder.last_checkpoint.parent.mkdir(parents=True)
    write_json(folder.facts, {"experiment": "toy", "edited": ["model.head was 1, is now 2"]})
    torch.save(trainer.state_dict() | {"fingerprint": "0123", "epoch_steps": STEPS}, folder.last_checkpoint)
    return folder


def change(folder, *place, value=None, drop=False):
    """Write another value into the checkpoint."""
    saved = torch.load(folder.last_checkpoint, weights_only=True)
    *above, key = place
    node = saved
    for one in above:
        node = node[one]
    if drop:
        del node[key]
    else:
        node[key] = value
    torch.save(saved, folder.last_checkpoint)


def go_on(folder):
    """What a resume does with it; the step at which it goes on."""
    trainer = small_trainer()
    restore(trainer, load_checkpoint(folder.last_checkpoint, "0123", STEPS), folder)
    return trainer.state.step


def test_a_whole_checkpoint_is_gone_on_with(folder):
    assert go_on(folder) == 8


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (["state"], {}, "it lacks state.phase"),
        (["state"], None, "state must be keys and values, got None"),
        (["state", "step"], "8", "state.step must be a whole number of at least 0, got '8'"),
        (["state", "step"], 0, "step 0 is not in epoch 2, of 6 steps each"),
        (["state", "epochs"], 3, "step 8 is not in epoch 4"),
        (["state", "found"], {"all": "auto"}, "state.found must be"),
        (["model"], [], "model must be"),
        (["model"], {"0.weight": 5}, "model must be"),
        (["optimizer"], {}, "it lacks optimizer.kind"),
        (["optimizer", "state"], {}, "the averages of Adam are gone"),
        (["optimizer", "hypers"], None, "optimizer.hypers must be"),
        (["optimizer", "frozen"], -1, "optimizer.frozen must be"),
    ],
)
def test_a_checkpoint_that_lacks_a_part_is_named_and_not_taken_for_a_beginning(folder, place, value, told):
    change(folder, *place, value=value)
    with pytest.raises(
        UserError, match=r"last\.pt is no whole checkpoint .*remove it, and  python -m expkit "
    ) as error:
        go_on(folder)
    assert f"({told}" in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("part", ["phase", "epoch", "batch", "step", "epochs", "seconds", "found"])
def test_each_part_of_the_state_is_needed(folder, part):
    change(folder, "state", part, drop=True)
    with pytest.raises(UserError, match=rf"last\.pt is no whole checkpoint \(it lacks state\.{part}\)"):
        go_on(folder)


def first(folder, part):
    """The first name in a part of the checkpoint."""
    saved = torch.load(folder.last_checkpoint, weights_only=True)
    return next(iter(saved["model"] if part == "model" else saved["optimizer"]["state"]))


@pytest.mark.parametrize("part", ["model", "optimizer"])
def test_tensors_of_another_shape_are_told_with_what_changed_since(folder, part):
    name = first(folder, part)
    place = ("model", name) if part == "model" else ("optimizer", "state", name, "exp_avg")
    change(folder, *place, value=torch.zeros(2, 7))
    with pytest.raises(
        UserError,
        match=r"last\.pt does not fit the model and optimizer of config\.yaml \(.*\); since the run began, model\.head "
        "was 1, is now 2: bring the config back as it was, or begin a new run",
    ) as error:
        go_on(folder)
    assert name in str(error.value)
    assert "(2, 7)" in str(error.value).replace("torch.Size([2, 7])", "(2, 7)")
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_optimizer_is_told_with_its_name(folder):
    change(folder, "optimizer", "kind", value="SGD")
    with pytest.raises(UserError, match=r"last\.pt does not fit .*of the optimizer SGD, not Adam"):
        go_on(folder)
