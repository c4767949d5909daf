"""Any optimizer of torch by its name."""

import pytest

from expkit import optim
from expkit.errors import UserError
from tests.optim.test_freezing import train
from tests.optim.tiny import Tiny

NAMES = ["ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"]


@pytest.mark.parametrize("name", NAMES)
def test_it_steps_groups_with_their_own_values(name):
    model = Tiny()
    optimizer = optim.torch(model, name=name, lr=[0.001, 0.002, 0.003])
    train(model, optimizer)
    assert type(optimizer.torch).__name__ == name
    assert optimizer.get("lr") == [0.001, 0.002, 0.003]
    assert optimizer.get("wd") == [0.01] * 3


@pytest.mark.parametrize(
    ("name", "hyper", "read"),
    [
        ("AdamW", "mom", lambda group: group["betas"][0]),
        ("AdamW", "sqr_mom", lambda group: group["betas"][1]),
        ("SGD", "mom", lambda group: group["momentum"]),
        ("RMSprop", "mom", lambda group: group["momentum"]),
        ("RMSprop", "sqr_mom", lambda group: group["alpha"]),
        ("Adadelta", "sqr_mom", lambda group: group["rho"]),
    ],
)
def test_hyperparameters_go_by_its_own_names(name, hyper, read):
    optimizer = optim.torch(Tiny(), name=name, **{hyper: 0.77})
    assert [read(group) for group in optimizer.torch.param_groups] == [0.77] * 6
    assert optimizer.get(hyper) == [0.77] * 3


def test_weight_decay_is_decoupled_or_not():
    assert optim.torch(Tiny(), name="AdamW").torch.param_groups[0]["weight_decay"] == 0.01
    coupled = optim.torch(Tiny(), name="SGD", decouple_wd=False).torch.param_groups[0]
    assert (coupled["weight_decay"], "wd" in coupled) == (0.01, False)
    apart = optim.torch(Tiny(), name="SGD").torch.param_groups[0]
    assert (apart["weight_decay"], apart["wd"]) == (0.0, 0.01)


def test_options_are_its_own_arguments():
    nesterov = optim.torch(Tiny(), name="SGD", mom=0.9, options={"nesterov": True})
    assert nesterov.torch.param_groups[0]["nesterov"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "AdmaW"}, "optim.name=AdmaW is no optimizer of torch.optim that can be used here; did you mean"),
        ({"name": "LBFGS"}, "optim.name=LBFGS is no optimizer"),
        ({"name": "Adagrad", "mom": 0.9}, "optim.mom: torch.optim.Adagrad has none"),
        ({"name": "AdamW", "decouple_wd": False}, "torch.optim.AdamW has no L2 weight decay"),
        ({"name": "Adam", "options": {"amsgard": True}}, "torch.optim.Adam refused optim.options"),
    ],
)
def test_errors_name_the_key(options, message):
    with pytest.raises(UserError) as caught:
        optim.torch(Tiny(), **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("SGD", "momentum", 0.9, "would be overwritten; give optim.mom"),
        ("RMSprop", "momentum", 0.9, "would be overwritten; give optim.mom"),
        ("RMSprop", "alpha", 0.9, "would be overwritten; give optim.sqr_mom"),
        ("Adadelta", "rho", 0.9, "would be overwritten; give optim.sqr_mom"),
        ("AdamW", "betas", [0.9, 0.99], "would be overwritten; give optim.mom and optim.sqr_mom"),
        ("AdamW", "lr", 0.1, "would be overwritten; give optim.lr"),
        ("AdamW", "eps", 1e-3, "would be overwritten; give optim.eps"),
        ("AdamW", "weight_decay", 0.1, "would be overwritten; give optim.wd"),
        ("NAdam", "decoupled_weight_decay", True, "would be overwritten; give optim.decouple_wd"),
        ("Adam", "foreach", True, "the fastest form is taken by itself; leave it out"),
        ("Adam", "fused", False, "the fastest form is taken by itself; leave it out"),
    ],
)
def test_options_that_would_be_overwritten_name_the_key_to_use(name, key, value, message):
    with pytest.raises(UserError) as refused:
        optim.torch(Tiny(), name=name, options={key: value})
    assert str(refused.value).startswith(f"optim.options.{key} ")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("AdamW", {"amsgrad": True}),
        ("ASGD", {"alpha": 0.5, "lambd": 1e-3}),
        ("Adafactor", {"eps": (1e-30, 1e-2)}),
        ("Rprop", {"etas": (0.4, 1.3)}),
        ("RMSprop", {"centered": True}),
        ("SGD", {"maximize": True}),
    ],
)
def test_options_of_its_own_reach_the_optimizer(name, options):
    made = optim.torch(Tiny(), name=name, options=options)
    assert all(group[key] == value for group in made.torch.param_groups for key, value in options.items())


@pytest.mark.parametrize(
    ("given", "meant"), [("adamw", "AdamW"), ("rmsprop", "RMSprop"), ("SGd", "SGD"), ("nadam", "NAdam")]
)
def test_a_name_wrong_by_case_finds_its_own(given, meant):
    with pytest.raises(UserError, match=rf"did you mean '{meant}'\?"):
        optim.torch(Tiny(), name=given)


def test_muon_is_not_offered_and_says_why():
    with pytest.raises(UserError, match=r"optim\.name=Muon is no optimizer .* takes matrices only"):
        optim.torch(Tiny(), name="Muon")
    with pytest.raises(UserError) as refused:
        optim.torch(Tiny(), name="Mooon")
    assert "Muon" not in str(refused.value)
