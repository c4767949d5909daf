"""The experiments digits_pretrain and digits_transfer, as a person runs them one after the other."""

import json
import os
import subprocess
import sys

import torch
from safetensors.torch import load_file

SMALL = ("epochs=1", "image_size=16", "tracking=none")


def expkit(cwd, *arguments):
    """Run a command in `cwd`, with a feature cache of its own; its status and what it said on standard error."""
    command = [sys.executable, "-m", "expkit", *arguments]
    env = os.environ | {"EXPKIT_CACHE": str(cwd / "cache")}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stderr


def body_of(folder):
    weights = load_file(folder / "checkpoints" / "model.safetensors")
    return {name: tensor for name, tensor in weights.items() if name.startswith("body.")}


def test_the_body_of_one_run_serves_the_next_on_other_digits(tmp_path):
    assert expkit(tmp_path, "+experiment=digits_pretrain", *SMALL)[0] == 0
    (first,) = (tmp_path / "outputs" / "digits_pretrain").iterdir()
    run = str(first.relative_to(tmp_path))
    status, said = expkit(
        tmp_path, "+experiment=digits_transfer", "transfer=frozen_precompute", f"model.weights={run}", *SMALL
    )
    assert status == 0, said
    (second,) = (tmp_path / "outputs" / "digits_transfer").iterdir()
    classes = [json.loads((folder / "result.json").read_text())["classes"] for folder in (first, second)]
    assert classes == [list("01234"), list("56789")]
    bodies = [body_of(folder) for folder in (first, second)]
    assert bodies[0].keys() == bodies[1].keys()
    assert all(torch.equal(tensor, bodies[1][name]) for name, tensor in bodies[0].items())


def test_without_a_run_the_message_says_what_to_give(tmp_path):
    status, said = expkit(tmp_path, "+experiment=digits_transfer", *SMALL[1:])
    assert status == 1
    assert said.startswith("error: model.weights must be a file, a run or a name of torchvision's resnet18, got 'RUN'")
