import pytest

from expkit.config.plan import epochs_of
from expkit.errors import UserError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs=0", "epochs must be a whole number of at least 1 or one of auto, got 0"),
        ("epochs=1.5", "epochs must be a whole number"),
        ("batch_size=-4", "batch_size must be"),
        ("num_workers=many", "num_workers must be one of auto or a whole number of at least 0"),
        ("optim.lr=0", "optim.lr must be"),
        ("optim.lr=-0.1", "optim.lr must be"),
        ("sched.pct_start=1.1", "sched.pct_start must be a number above 0 and below 1, got 1.1"),
        ("data.valid_pct=1", "data.valid_pct must be a number above 0 and below 1, got 1"),
        ("trainer.precision=bf61", "did you mean 'bf16'?"),
        ("trainer.label_smoothing=1.0", "trainer.label_smoothing must be"),
        ("objective.metric=valid_acuracy", "did you mean 'valid_accuracy'?"),
        ("objective.mode=min", "objective.mode must be max for valid_accuracy"),
        ("+data.valid_pctt=0.5", "data.valid_pctt is no key of data; did you mean 'valid_pct'?"),
        ("+epoch=3", "epoch is no key of the config; did you mean 'epochs'?"),
        ("optim._target_=os.system", "optim._target_: os.system is nothing that a config may name"),
    ],
)
def test_impossible_configs_are_refused_with_the_key_at_fault(config_of, override, message):
    with pytest.raises(UserError) as refused:
        config_of("+experiment=digits", override)
    assert message in str(refused.value)


def test_epochs_follow_from_cycles(config_of):
    config = config_of("+experiment=digits", "epochs=auto", "sched=sgdr", "sched.n_cycles=3", "sched.cycle_len=2")
    assert epochs_of(config) == 2 + 4 + 8
    with pytest.raises(UserError, match="epochs=auto follows from sched=sgdr"):
        epochs_of(config_of("+experiment=digits", "epochs=auto"))


def test_the_experiments_compose(config_of):
    assert config_of("+experiment=digits").image_size == 32
    assert config_of("+experiment=pets").data["_target_"] == "expkit.data.pets"
