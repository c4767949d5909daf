import json
import logging
from dataclasses import replace

import pytest
import torch
from torch import nn

from expkit.left_open import faster_of, settled
from expkit.trainer.faster import faster, rates_of, verdict
from expkit.trainer.precision import is_native
from expkit.wiring import assemble


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "precision"


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3))

    def forward(self, images):
        return super().forward(images.float())


@pytest.mark.parametrize(
    ("rates", "taken"),
    [({"fp32": 100, "bf16": 110.1}, "bf16"), ({"fp32": 100, "bf16": 109}, "fp32"), ({"fp32": 1, "bf16": 0.5}, "fp32")],
)
def test_bf16_must_be_clearly_faster(rates, taken):
    assert verdict(rates) == taken
    assert verdict({}) == "fp32"


@pytest.mark.parametrize("trains", [True, False])
def test_both_precisions_are_measured(trains):
    net = Net()
    before = net[1].running_mean.clone()
    rates = rates_of(net, 8, 2, trains=trains)
    assert set(rates) == {"fp32", "bf16"}
    assert min(rates.values()) > 0
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(net[1].running_mean, before) != trains


def test_what_was_measured_is_said_once_and_remembered(place, capsys):
    measured = []

    def measure(bf16):
        measured.append(bf16)
        return {"fp32": 100.0, "bf16": bf16}

    assert faster({"model": "a"}, lambda: measure(150.0)) == "bf16"
    assert capsys.readouterr().out == (
        "precision=auto is bf16: this processor computes 100 images/s in fp32, 150 in bf16\n"
    )
    assert faster({"model": "a"}, lambda: measure(50.0)) == "bf16"
    assert faster({"model": "b"}, lambda: measure(50.0)) == "fp32"
    assert measured == [150.0, 50.0]
    capsys.readouterr()
    for file in place.glob("*.json"):
        file.write_text('{"precision": ')
    assert faster({"model": "a"}, lambda: measure(60.0)) == "fp32"
    assert faster({"model": "c"}, dict) == "fp32"  # out of the question: nothing to say
    assert "60 in bf16" in capsys.readouterr().out


def test_where_nothing_can_be_kept_nothing_is_measured(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "expkit"):
        assert faster({"model": "a"}, lambda: pytest.fail("was measured")) == "fp32"
    assert "EXPKIT_CACHE" in caplog.text


def test_a_model_is_measured_once_for_all_weights_rates_and_dropouts(place, config_of, capsys):
    config = config_of("+experiment=digits", "image_size=32", "batch_size=4")
    assert faster_of(config, 10, True) in ("bf16", "fp32")
    assert "images/s in fp32" in capsys.readouterr().out
    (file,) = place.glob("*.json")
    kept = json.loads(file.read_text())
    assert kept["batch"] == 4
    assert set(kept["images_per_second"]) == {"fp32", "bf16"}
    file.write_text(json.dumps({**kept, "precision": "bf16"}))
    alike = config_of("+experiment=digits", "image_size=32", "batch_size=8", "trainer.accumulate=2", "seed=5")
    alike = replace(alike, model={**alike.model, "dropout": [0.1, 0.2], "weights": "IMAGENET1K_V1"})
    assert faster_of(alike, 10, True) == "bf16"
    assert len(list(place.glob("*.json"))) == 1
    faster_of(config, 10, False)
    assert len(list(place.glob("*.json"))) == 2


def test_a_run_goes_on_in_its_precision_and_a_named_one_is_taken(place, config_of):
    config = config_of("+experiment=digits", "image_size=16", "trainer.device=cpu")
    native = is_native(torch.device("cpu"))
    went_on = settled(config, 10, trains=True, began="fp32")
    assert went_on.trainer["precision"] == ("fp32" if native else "auto")
    assert settled(config, 10, trains=True, began="bf16") is config
    named = config_of("+experiment=digits", "trainer.precision=fp32")
    assert settled(named, 10, trains=True) is named
    assert not place.exists()


@pytest.mark.skipif(is_native(torch.device("cpu")), reason="this processor computes in bfloat16 and is measured")
def test_nothing_is_measured_where_the_processor_has_no_bf16(place, config_of):
    run = assemble(config_of("+experiment=digits", "image_size=16"))
    assert run.precision == "fp32"
    assert run.config.trainer["precision"] == "auto"
    assert not place.exists()
