"""The experiments digits_pretrain and digits_transfer, as a person runs them one after the other."""

import json
import os

import torch
from safetensors.torch import load_file

from tests.conftest import PLAIN
from tests.forked import expkit

SMALL = ("epochs=1", "image_size=16", *PLAIN)


def body_of(folder):
    weights = load_file(folder / "checkpoints" / "model.safetensors")
    return {name: tensor for name, tensor in weights.items() if name.startswith("body.")}


def test_the_body_of_one_run_serves_the_next_on_other_digits(tmp_path):
    environment = os.environ | {"EXPKIT_CACHE": str(tmp_path / "cache")}
    status, _, err = expkit("+experiment=digits_pretrain", *SMALL, cwd=tmp_path, environment=environment)
    assert status == 0, err
    (first,) = (tmp_path / "outputs" / "digits_pretrain").iterdir()
    run = str(first.relative_to(tmp_path))
    transfer = ("+experiment=digits_transfer", "transfer=frozen_precompute", f"model.weights={run}", *SMALL)
    status, _, err = expkit(*transfer, cwd=tmp_path, environment=environment)
    assert status == 0, err
    (second,) = (tmp_path / "outputs" / "digits_transfer").iterdir()
    classes = [json.loads((folder / "result.json").read_text())["classes"] for folder in (first, second)]
    assert classes == [list("01234"), list("56789")]
    bodies = [body_of(folder) for folder in (first, second)]
    assert bodies[0].keys() == bodies[1].keys()
    assert all(torch.equal(tensor, bodies[1][name]) for name, tensor in bodies[0].items())


def test_without_a_run_the_message_says_what_to_give(tmp_path):
    status, _, err = expkit("+experiment=digits_transfer", *SMALL[1:], cwd=tmp_path)
    assert status == 1
    assert err.startswith("error: model.weights must be a file, a run or a name of torchvision's resnet18, got 'RUN'")
