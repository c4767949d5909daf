"""Configs of trials, composed sooner than by Hydra: they must be the very same."""

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from expkit.errors import UserError
from expkit.sweep.space.composing import Composer


def hydras(sweep, overrides):
    return sweep.context.config_loader.load_sweep_config(sweep.config, list(overrides))


def everything(config):
    hydra = config.hydra
    return OmegaConf.to_container(config), OmegaConf.is_struct(config), OmegaConf.is_readonly(hydra)


def resolved(config):
    """The values as a run has them, and the sweep's folder; Hydra's other ones can only be resolved within a job."""
    own = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    return OmegaConf.to_container(own, resolve=True), config.hydra.sweep.dir


@pytest.mark.parametrize(
    "overrides",
    [
        ["optim.lr=0.01", "optim.wd=1e-5", "sched.pct_start=0.3"],
        ["optim=sgd", "optim.mom=0.8", "sched=flat_cos", "sched.pct_start=0.5"],
        [
            "optim.lr={start: 1e-4, stop: 1e-2}",
            "epochs=7",
            "+transfer.phases.head.lr=0.1",
            "transfer.phases.head.lr=0.2",
        ],
        ["transfer=fine_tune", "transfer.phases.head.epochs=2", "objective.metric=valid_f1", "seed=3"],
        ["data.classes=[1, 2]", "hydra.sweep.subdir=there", "optim.lr=1e-3"],
        ["optim.lr=1", "optim.lr=2"],
    ],
)
def test_a_config_is_what_hydra_composes(prepared, overrides):
    sweep, _ = prepared("hydra/sweeper=expkit", "optim.wd=interval(0, 1)")
    composer = Composer(sweep.context, sweep.config)
    overrides = [*sweep.search.fixed, *overrides]
    expected = hydras(sweep, overrides)
    for _ in range(2):  # the second time from what is kept
        found = composer.compose(overrides)
        assert everything(found) == everything(expected)
        assert resolved(found) == resolved(expected)


def test_the_values_of_one_trial_say_nothing_of_the_next(prepared):
    sweep, _ = prepared("hydra/sweeper=expkit", "optim.wd=interval(0, 1)")
    composer = Composer(sweep.context, sweep.config)
    before = composer.compose(sweep.search.fixed)
    composer.compose([*sweep.search.fixed, "optim.lr=0.5", "seed=9"])
    assert everything(composer.compose(sweep.search.fixed)) == everything(before)


@pytest.mark.parametrize("override", ["transfer.phases.hea.lr=1", "optim=adm", "optimm=adam"])
def test_what_a_job_refuses_is_refused(prepared, override):
    sweep, _ = prepared("hydra/sweeper=expkit", "optim.wd=interval(0, 1)")
    with pytest.raises((HydraException, UserError)) as expected:
        hydras(sweep, [override])
    with pytest.raises(type(expected.value)) as found:
        Composer(sweep.context, sweep.config).compose([override])
    assert str(found.value) == str(expected.value)


def test_a_searched_key_that_no_trial_heeds_is_told(prepared, capsys):
    space = ("hydra/sweeper=expkit", "sched.pct_start=interval(0.1, 0.5)", "optim.wd=interval(0.0, 0.1)")
    prepared(*space, "transfer=fine_tune")
    told = capsys.readouterr().err
    assert (
        "WARNING: sched.pct_start has no effect: transfer.phases.head.sched and transfer.phases.all.sched say" in told
    )
    assert "optim.wd has no effect" not in told
    prepared(*space, "transfer=choice(fine_tune, scratch)")
    assert "has no effect" not in capsys.readouterr().err, "in some trials it has one"
