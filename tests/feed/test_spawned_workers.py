"""Data workers that begin anew (macOS and Windows start them so), in whole runs of `python -m expkit`."""

import os
import re
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT, SMALL_MODEL
from tests.forked import spawned_by, wait_until

ALWAYS = "import multiprocessing\nmultiprocessing.set_start_method('spawn')\n"
"""What Python runs as it starts, in place of another system's default."""

OWN = """
import sys
from functools import partial
from pathlib import Path
from expkit.augment import Transforms, none

def turned(size, *, steps: int = 2):
    plain = none(size)
    return Transforms(partial(turn, plain.valid, steps), plain.valid, random=True, size=size)

def turn(transform, steps, image, seed):
    Path(f"spawned_{'--multiprocessing-fork' in sys.orig_argv}").touch()
    return transform(image).rot90(seed % steps).contiguous()

def closed(size):
    plain = none(size)
    return Transforms(lambda image, seed: plain.valid(image), plain.valid, random=True, size=size)
"""


@pytest.fixture
def start(tmp_path, colour_folders):
    """Start `python -m expkit` in a process group of its own, where `own.py` and a start of workers by spawn are."""
    (tmp_path / "always").mkdir()
    (tmp_path / "always" / "sitecustomize.py").write_text(ALWAYS)
    (tmp_path / "own.py").write_text(OWN)
    path = os.pathsep.join(map(str, (tmp_path / "always", ROOT)))
    env = {**os.environ, "PYTHONPATH": path, "EXPKIT_TRUST": "own", "EXPKIT_CACHE": str(tmp_path / "cache")}

    def begin(*arguments):
        command = [sys.executable, "-m", "expkit", "data=folders", f"data.root={colour_folders}", *SMALL_MODEL]
        command += ["image_size=16", "batch_size=8", "tracking=none", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=tmp_path, env=env, start_new_session=True, **pipes)

    return begin


def test_spawned_workers_apply_a_users_own_transform_to_the_same_bits(start, tmp_path):
    left = []
    for workers in (0, 2):
        process = start(
            "epochs=1", f"num_workers={workers}", "augment={_target_: own.turned}", f"hydra.run.dir={workers}"
        )
        out, err = process.communicate(timeout=400)
        assert process.returncode == 0, out + err
        left.append((tmp_path / str(workers) / "checkpoints" / "model.safetensors").read_bytes())
        assert (tmp_path / "spawned_True").exists() == (workers > 0)
    assert left[0] == left[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_while_spawned_workers_start_ends_the_run_alone(start, tmp_path, number):
    process = start("epochs=200", "num_workers=2", "hydra.run.dir=run")
    wait_until(lambda: spawned_by(process), process)
    workers = spawned_by(process)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    assert re.fullmatch(r"stopped.*; go on with  python -m expkit resume=run\n", err), err
    assert not any(worker.is_running() for worker in workers)


def test_what_spawned_workers_cannot_be_sent_is_told_in_one_sentence(start):
    process = start("epochs=1", "num_workers=2", "augment={_target_: own.closed}")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert re.fullmatch(r"error: num_workers=2: .*\(.*closed\.<locals>\.<lambda>.*\): .*num_workers=0\n", err), err
