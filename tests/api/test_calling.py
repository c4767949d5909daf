"""A call from Python leaves the process as it was, whatever becomes of it, and from whatever thread."""

import subprocess
import sys
import threading

import pytest

import expkit
from expkit.errors import UserError
from tests.api.conftest import SMALL

PLAIN = (*SMALL, "task.report=false")


def test_a_run_with_its_own_threads_leaves_the_process_as_it_was(unchanged):
    expkit.run(*SMALL, "trainer.threads=1")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epocs=1"], "epocs is no key of the config; did you mean 'epochs'"),
        (["optim.lr=1e30"], "the training loss became nan"),
        (["data=folders", "data.root=nowhere"], "nowhere does not exist"),
    ],
    ids=["key", "loss", "data"],
)
def test_so_does_one_that_fails(unchanged, overrides, message):
    with pytest.raises(UserError, match=message):
        expkit.run(*SMALL, *overrides)


def test_so_do_scores_and_configs(unchanged, trained):
    expkit.compose("+experiment=digits")
    trained.load().evaluate(resamples=0, name="again")


def test_runs_of_one_process_and_of_several_come_to_the_same_bits(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    thread = threading.Thread(target=lambda: found.append(expkit.run(*PLAIN, quiet=True)))
    thread.start()
    second = expkit.run(*PLAIN, quiet=True)  # one of them waits for the other
    thread.join()
    command = [sys.executable, "-m", "expkit", *PLAIN, "hydra.run.dir=alone"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    folders = [trained.folder, second.folder, found[0].folder, tmp_path / "alone"]
    weights = {(folder / "checkpoints" / "model.safetensors").read_bytes() for folder in folders}
    assert len(weights) == 1


def test_nothing_is_printed_but_the_progress_and_quietly_nothing(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = expkit.run(*SMALL)
    told = capsys.readouterr()
    first, *_, last = told.out.splitlines()
    assert first == "1438 training and 359 validation images of 10 classes"
    assert last.startswith("epoch 1/1  train_loss ")
    assert told.err == ""
    assert repr(run).startswith(f"valid_accuracy {run.value:.4f} in ")
    expkit.run(*PLAIN, quiet=True).load().evaluate(resamples=0, quiet=True)
    assert capsys.readouterr() == ("", "")
