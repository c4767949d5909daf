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
