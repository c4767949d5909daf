import pytest

from expkit.check import defaults
from expkit.config.lr_find import LrFind
from expkit.config.plan import epochs_of
from expkit.config.schema import check_config, check_node, filled
from expkit.errors import UserError
from expkit.trainer import default


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


def test_a_checked_node_has_all_keys_and_the_config_those_that_were_given(config_of):
    given = {"_target_": "expkit.sched.one_cycle", "pct_start": 0.5}
    whole = check_node("sched", given)
    assert whole["pct_start"] == 0.5
    assert whole == filled(given) == {**config_of("+experiment=digits", "sched=one_cycle").sched, "pct_start": 0.5}
    config = config_of("+experiment=digits", "sched=one_cycle")
    assert check_config({**vars(config), "sched": given}).sched == given


def test_a_function_of_a_users_has_the_defaults_of_expkits_where_it_has_none(monkeypatch):
    monkeypatch.setenv("EXPKIT_TRUST", "tests")
    node = {"_target_": f"{__name__}.own_trainer"}
    assert filled(node) == {**node, "precision": "fp32"}
    assert filled(node, like=default)["device"] == "auto"
    assert filled(node, like=default)["precision"] == "fp32"


def own_trainer(model, optimizer, classes, seed, image_size, *, precision: str = "fp32"):
    raise AssertionError("never called")


def test_the_settings_of_the_lr_finder_have_the_defaults_of_the_config(config_of):
    assert config_of("+experiment=digits").lr_find == defaults(LrFind)
