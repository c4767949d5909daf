"""Runs on their way from their folders into a real store, by real processes that may die."""

import logging
import os
import signal
import time
from pathlib import Path

import pytest

from expkit.errors import UserError
from expkit.tracking import mlflow
from expkit.tracking.senders import close_senders, sender_of
from expkit.whole_files import read_json, write_json
from tests.tracking.runs import (
    artifacts_of,
    new_run,
    new_study,
    new_trial,
    python,
    runs_of,
    steps_of,
    wait_until,
    write_metrics,
    write_weights,
)

DAMAGED = b"SQLite format 3\0 and no more"
"""A database that has to be brought back."""


def sender_pid(uri: str) -> int:
    process = sender_of(uri).process
    assert process is not None
    return process.pid


def test_one_sender_follows_overlapping_runs_and_those_after_them(tmp_path, uri, client, experiment):
    folders = [new_run(tmp_path / name, experiment) for name in ("first", "second", "third")]
    first, second, third = (mlflow(folder, uri=uri) for folder in folders)
    first.start()
    pid = sender_pid(uri)
    write_metrics(folders[0], range(5))
    second.start()
    write_metrics(folders[1], range(1500))
    first.finish("FINISHED")
    assert runs_of(client, experiment)["first"].info.status == "FINISHED"
    second.finish("FAILED", tags={"reason": "it diverged"})
    third.start()
    third.finish("FINISHED")
    assert sender_pid(uri) == pid
    runs = runs_of(client, experiment)
    assert {name: run.info.status for name, run in runs.items()} == {
        "first": "FINISHED",
        "second": "FAILED",
        "third": "FINISHED",
    }
    assert [steps_of(client, folder) for folder in folders[:2]] == [list(range(5)), list(range(1500))]
    assert runs["second"].data.tags["reason"] == "it diverged"
    assert runs["first"].data.params == {
        "epochs": "2",
        "model": "resnet18",
        "optim": "adam",
        "optim.lr": "0.003",
        "augment": "none",
        "image_size": "64",
    }
    assert runs["first"].info.run_id == first.run_id()
    assert runs["first"].info.run_name == "resnet18 adam lr=0.003"


def test_a_run_lasts_as_long_as_it_did_however_late_it_is_sent(tmp_path, uri, client, experiment):
    folder = new_run(tmp_path / "run", experiment, started=1_000_000)
    tracker = mlflow(folder, uri=uri)
    tracker.start()
    tracker.finish("FINISHED")
    run = runs_of(client, experiment)["run"]
    assert run.info.start_time == 1_000_000
    assert run.info.end_time == read_json(folder.path / "end.json")["time"]


def test_what_becomes_known_of_a_run_is_sent_while_it_trains(tmp_path, uri, client, experiment):
    folder = new_run(tmp_path / "run", experiment)
    tracker = mlflow(folder, uri=uri)
    tracker.start()
    run_id = tracker.run_id()
    folder.note(fingerprint="0123")
    wait_until(lambda: client.get_run(run_id).data.tags.get("fingerprint") == "0123")
    assert client.get_run(run_id).info.status == "RUNNING"
    tracker.finish("FINISHED")


def test_a_killed_sender_is_followed_by_another_that_goes_on(tmp_path, uri, client, experiment):
    study = new_study(tmp_path / "sweep_lr", experiment)
    parent = mlflow(study, uri=uri)
    parent.start()
    ended, going = new_trial(study, 0), new_trial(study, 1)
    trackers = [mlflow(folder, uri=uri) for folder in (ended, going)]
    for tracker in trackers:
        tracker.start()
    write_metrics(going, range(10))
    wait_until(lambda: read_json(going.tracking).get("sent"))
    run_id = read_json(going.tracking)["run_id"]
    write_metrics(ended, range(20))
    trackers[0].finish("FINISHED", tags={"state": "complete"})
    pid = sender_pid(uri)
    os.kill(pid, signal.SIGKILL)
    write_metrics(going, range(10, 15))
    trackers[1].finish("FINISHED", tags={"state": "pruned"})
    parent.finish("FINISHED")
    assert sender_pid(uri) != pid
    runs = runs_of(client, experiment)
    assert [run.info.status for run in runs.values()] == ["FINISHED"] * 3
    assert runs["1"].info.run_id == run_id
    assert runs["1"].data.tags["state"] == "pruned"
    assert steps_of(client, going) == list(range(15))
    assert steps_of(client, ended) == list(range(20))


KILLED_WHILE_TRAINING = """
uri, experiment, sweep = sys.argv[1:]
study = new_study(Path(sweep), experiment)
mlflow(study, uri=uri).start()
for number in range(2):
    folder = new_trial(study, number)
    tracker = mlflow(folder, uri=uri)
    tracker.start()
    write_metrics(folder, range(5))
    if number == 0:
        tracker.finish("FAILED", tags={"state": "failed", "reason": "nan"})
(Path(sweep) / "ready").touch()
time.sleep(600)
"""


def test_what_a_killed_process_tracked_is_sent_and_closed(sweep, uri, client, experiment):
    process = python(KILLED_WHILE_TRAINING, uri, experiment, sweep)
    wait_until((sweep / "ready").exists)
    process.kill()
    process.wait()
    wait_until(lambda: read_json(sweep / "tracking.json").get("status"))
    runs = runs_of(client, experiment)
    statuses = {name: run.info.status for name, run in runs.items()}
    assert statuses == {sweep.name: "KILLED", "0": "FAILED", "1": "KILLED"}
    assert runs["0"].data.tags["reason"] == "nan"
    assert runs["1"].data.metrics == {"hp/lr_0": 4 / 7}


def test_a_sender_and_its_process_killed_together_lose_nothing(sweep, uri, client, experiment):
    process = python(KILLED_WHILE_TRAINING, uri, experiment, sweep)
    wait_until(lambda: read_json(sweep / "1" / "tracking.json"))
    (sender,) = (int(pid) for pid in children_of(process.pid))
    os.kill(sender, signal.SIGKILL)
    process.kill()
    process.wait()
    study = new_study(sweep, experiment)
    tracker = mlflow(study, uri=uri)
    tracker.start()
    tracker.finish("FINISHED")
    runs = runs_of(client, experiment)
    statuses = {name: run.info.status for name, run in runs.items()}
    assert statuses == {sweep.name: "FINISHED", "0": "FAILED", "1": "KILLED"}
    assert runs["0"].data.tags["reason"] == "nan"


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_a_sender_that_hangs_is_given_up_and_the_rest_sent_later(tmp_path, uri, client, experiment, caplog):
    folder = new_run(tmp_path / "run", experiment)
    tracker = mlflow(folder, uri=uri, timeout=30)
    tracker.start()
    tracker.run_id()
    os.kill(sender_pid(uri), signal.SIGSTOP)
    write_metrics(folder, range(3))
    sender_of(uri).timeout = 0.2
    with caplog.at_level(logging.WARNING):
        tracker.finish("FINISHED")
    assert "no answer within tracking.timeout=0.2 s" in caplog.text
    assert f"resume={folder.path}` sends the rest" in caplog.text
    again = mlflow(folder, uri=uri, timeout=60)
    again.start()
    again.finish("FINISHED")
    assert steps_of(client, folder) == [0, 1, 2]
    assert runs_of(client, experiment)["run"].info.status == "FINISHED"


def test_a_store_that_is_down_for_a_while_gets_all_once_it_is_back(tmp_path, experiment, caplog):
    store = tmp_path / "mlflow.db"
    store.write_bytes(DAMAGED)
    uri = f"sqlite:///{store}"
    study = new_study(tmp_path / "sweep_lr", experiment)
    parent = mlflow(study, uri=uri)
    parent.start()
    trials = [new_trial(study, number) for number in range(3)]
    for trial in trials:
        tracker = mlflow(trial, uri=uri)
        tracker.start()
        write_metrics(trial, range(4))
        tracker.finish("FINISHED")
    assert parent.run_id() is None
    with caplog.at_level(logging.WARNING):
        parent.finish("FINISHED")
        close_senders()
    # Once, of the study: where that is sent, its trials are.
    (warning,) = caplog.messages
    assert f"resume={study.path}` sends the rest" in warning
    store.unlink()
    parent.start()
    parent.finish("FINISHED")

    from mlflow import MlflowClient

    client = MlflowClient(uri)
    assert {run.info.status for run in runs_of(client, experiment).values()} == {"FINISHED"}
    assert [steps_of(client, trial) for trial in trials] == [[0, 1, 2, 3]] * 3


def test_a_required_store_that_is_down_is_a_mistake_and_nothing_is_sent_later(tmp_path, experiment):
    store = tmp_path / "mlflow.db"
    store.write_bytes(DAMAGED)
    folder = new_run(tmp_path / "run", experiment)
    uri = f"sqlite:///{store}"
    with pytest.raises(UserError, match=r"is out of reach .*tracking.required is true"):
        mlflow(folder, uri=uri, required=True).start()
    store.unlink()
    close_senders()
    assert not folder.tracking.exists()


def test_only_a_store_that_has_the_run_is_shown_to_look_at(tmp_path, uri, experiment):
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(DAMAGED)
    for number, (place, works) in enumerate([(uri, True), (f"sqlite:///{damaged}", False)]):
        tracker = mlflow(new_run(tmp_path / str(number), experiment), uri=place)
        tracker.start()
        tracker.finish("FINISHED")
        assert bool(tracker.hint()) == works


def test_a_run_that_somebody_deleted_is_made_again(tmp_path, uri, client, experiment):
    folder = new_run(tmp_path / "run", experiment)
    write_metrics(folder, range(3))
    for status in ("KILLED", "FINISHED"):
        tracker = mlflow(folder, uri=uri)
        tracker.start()
        tracker.finish(status)
        if status == "KILLED":
            client.delete_run(read_json(folder.tracking)["run_id"])
    (run,) = runs_of(client, experiment).values()
    assert run.info.status == "FINISHED"
    assert steps_of(client, folder) == [0, 1, 2]


def test_a_run_that_a_sender_made_as_it_died_is_found_again(tmp_path, uri, client, experiment):
    folder = new_run(tmp_path / "it's a run", experiment)
    tracker = mlflow(folder, uri=uri)
    tracker.start()
    tracker.finish("KILLED")
    run_id = read_json(folder.tracking)["run_id"]
    write_json(folder.tracking, {"uri": uri, "sent": 0})
    tracker.start()
    assert tracker.run_id() == run_id
    tracker.finish("FINISHED")
    assert len(runs_of(client, experiment)) == 1


def test_a_finished_run_is_left_as_it_is(tmp_path, uri, client, experiment):
    folder = new_run(tmp_path / "run", experiment)
    for status in ("FINISHED", "KILLED"):
        tracker = mlflow(folder, uri=uri)
        tracker.start()
        tracker.finish(status)
    assert runs_of(client, experiment)["run"].info.status == "FINISHED"


def test_what_comes_to_a_finished_run_later_is_sent_alone(tmp_path, uri, client, experiment):
    folder = new_run(tmp_path / "run", experiment)
    write_metrics(folder, range(3))
    write_json(folder.result, {})
    mlflow(folder, uri=uri).start()
    mlflow(folder, uri=uri).finish("FINISHED")
    close_senders()
    run_id = read_json(folder.tracking)["run_id"]
    info = client.get_run(run_id).info
    ended, stored = info.end_time, Path(info.artifact_uri.removeprefix("file://"), "result.json")
    stored.write_text("as it was sent")

    mlflow(folder, uri=uri).update()
    close_senders()
    write_metrics(folder, [3], "test/accuracy")
    (folder.path / "evaluations" / "own").mkdir(parents=True)
    write_json(folder.path / "evaluations" / "own" / "evaluation.json", {})
    mlflow(folder, uri=uri).update()
    close_senders()
    assert steps_of(client, folder, "test/accuracy") == [3]
    assert "evaluations/own" in {one.path for one in client.list_artifacts(run_id, "evaluations")}
    info = client.get_run(run_id).info
    assert (info.status, info.end_time) == ("FINISHED", ended)
    assert stored.read_text() == "as it was sent"


def test_files_are_sent_where_they_lie_and_checkpoints_of_finished_runs_alone(tmp_path, uri, client, experiment):
    folder = new_run(tmp_path / "run", experiment)
    for name in ("plots/losses.png", "checkpoints/last.pt", ".hydra/config.yaml", ".lock", "traces.bin"):
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_text("x")
    tracker = mlflow(folder, uri=uri)
    tracker.start()
    tracker.finish("KILLED")
    sent = {"plots/losses.png", ".hydra/config.yaml", "config.yaml", "run.json"}
    assert artifacts_of(client, folder) == sent
    write_weights(folder)
    tracker.start()
    tracker.finish("FINISHED")
    weights = {"checkpoints/last.pt", "checkpoints/model.safetensors"}
    assert artifacts_of(client, folder) == sent | weights | {"metrics.jsonl", "result.json"}
    (model,) = client.search_logged_models([client.get_experiment_by_name(experiment).experiment_id])
    assert model.source_run_id == read_json(folder.tracking)["run_id"]


def test_a_stopped_sender_holds_up_nobody_and_is_replaced(tmp_path, uri, client, experiment):
    study = new_study(tmp_path / "sweep_lr", experiment)
    parent = mlflow(study, uri=uri, timeout=60)
    parent.start()
    parent.run_id()
    sender = sender_of(uri)
    first = sender_pid(uri)
    os.kill(first, signal.SIGSTOP)
    sender.timeout = 0.5
    began = time.monotonic()
    while sender_pid(uri) == first:  # more than a pipe takes
        sender.say(study.path, {"drop": "x" * 5000})
        assert time.monotonic() - began < 60
        time.sleep(0.01)
    assert len(sender.outbox) < 1_000_000
    sender.timeout = 60
    parent.finish("FINISHED")
    assert runs_of(client, experiment)["sweep_lr"].info.status == "FINISHED"


def test_a_sender_imports_nothing_that_lies_in_the_working_directory(tmp_path, uri, client, experiment, monkeypatch):
    """`resume=` changes to the project of the run, which somebody else may have made."""
    folder, sung = new_run(tmp_path / "run", experiment), tmp_path / "sung"
    for name in ("mlflow.py", "sqlalchemy.py", "expkit/__init__.py"):
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"import pathlib; pathlib.Path({str(sung)!r}).touch()")
    monkeypatch.chdir(tmp_path / "project")
    close_senders()
    tracker = mlflow(folder, uri=uri)
    tracker.start()
    tracker.finish("FINISHED")
    assert runs_of(client, experiment)["run"].info.status == "FINISHED"
    assert not sung.exists()
