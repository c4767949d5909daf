"""Studies and grids as parents of their runs."""

import json
import threading

import pytest

from expkit.tracking import make_parent, mlflow, send_rest
from expkit.tracking.naming import run_name
from expkit.tracking.nested import is_sent, nested_in, parent_of, records_of
from expkit.tracking.store import Store, studies
from expkit.whole_files import read_json
from tests.tracking.runs import (
    artifacts_of,
    new_run,
    new_study,
    new_trial,
    python,
    runs_of,
    steps_of,
    write_metrics,
    write_weights,
)


def test_trials_are_nested_with_their_number_and_state_and_without_weights(sweep, uri, client, experiment):
    study = new_study(sweep, experiment)
    parent = mlflow(study, uri=uri)
    parent.start()
    ends = [("FINISHED", {"state": "complete"}), ("FINISHED", {"state": "pruned"}), ("FAILED", {"reason": "nan"})]
    for number, (status, tags) in enumerate(ends):
        trial = new_trial(study, number)
        write_weights(trial)
        write_metrics(trial, range(3))
        tracker = mlflow(trial, uri=uri)
        tracker.start()
        tracker.finish(status, tags=tags)
    write_metrics(study, range(3), "best_valid_accuracy")
    (sweep / "plots").mkdir()
    (sweep / "plots" / "history.png").write_text("x")
    parent.finish("FINISHED", tags={"best.optim.lr": "0.1"})

    runs = runs_of(client, experiment)
    top = runs.pop(sweep.name)
    assert top.info.run_id == parent.run_id()
    assert (top.info.run_name, top.info.status, top.data.tags["study"]) == ("lr", "FINISHED", "lr")
    assert top.data.tags["best.optim.lr"] == "0.1"
    assert steps_of(client, study, "best_valid_accuracy") == [0, 1, 2]
    assert artifacts_of(client, study) == {"run.json", "metrics.jsonl", "plots/history.png"}
    assert [runs[str(number)].info.status for number in range(3)] == [status for status, _ in ends]
    for number, (_, tags) in enumerate(ends):
        data = runs[str(number)].data
        assert data.params["trial"] == str(number)
        assert data.params["optim.lr"] == "0.003"
        assert data.tags["mlflow.parentRunId"] == top.info.run_id
        assert data.tags.items() >= tags.items()
    assert artifacts_of(client, trial) == {"run.json", "metrics.jsonl", "config.yaml", "result.json"}


@pytest.mark.parametrize("told", [False, True])
def test_the_best_trial_gets_its_weights_later(sweep, uri, client, experiment, told):
    study = new_study(sweep, experiment)
    parent = mlflow(study, uri=uri)
    parent.start()
    trials = [new_trial(study, number) for number in range(2)]
    for trial in trials:
        write_weights(trial)
        tracker = mlflow(trial, uri=uri)
        tracker.start()
        tracker.finish("FINISHED", wait=True)
        assert "checkpoints/model.safetensors" not in artifacts_of(client, trial)
    ended = runs_of(client, experiment)["0"].info.end_time
    trials[0].note(model=True)
    if told:  # else the parent finds it as it ends
        mlflow(trials[0], uri=uri).update()
    parent.finish("FINISHED")
    assert ["checkpoints/model.safetensors" in artifacts_of(client, trial) for trial in trials] == [True, False]
    best = runs_of(client, experiment)["0"].info
    assert (best.status, best.end_time) == ("FINISHED", ended)


def test_a_study_that_goes_on_does_so_in_its_run(sweep, uri, client, experiment):
    for n_trials in (1, 2):
        study = make_parent(
            sweep, experiment, kind="study", name="lr", tracking={}, params={"n_trials": n_trials, f"p{n_trials}": 0}
        )
        parent = mlflow(study, uri=uri)
        parent.start()
        assert client.get_run(parent.run_id()).info.status == "RUNNING"
        trial = mlflow(new_trial(study, n_trials), uri=uri)
        trial.start()
        trial.finish("FINISHED")
        parent.finish("FINISHED", tags={"best.optim.lr": str(n_trials)})
    runs = runs_of(client, experiment)
    assert sorted(runs) == ["1", "2", sweep.name]
    assert runs[sweep.name].data.tags["best.optim.lr"] == "2"
    # What MLflow keeps as a param cannot change; a new one can be added.
    assert runs[sweep.name].data.params == {"n_trials": "1", "p1": "0", "p2": "0"}
    assert {runs[name].data.tags["mlflow.parentRunId"] for name in "12"} == {runs[sweep.name].info.run_id}


OPEN_TOGETHER = """
uri, experiment, sweep, number = sys.argv[1:]
study = new_study(Path(sweep), experiment)
parent = mlflow(study, uri=uri)
parent.start()
folder = new_trial(study, int(number))
trial = mlflow(folder, uri=uri)
trial.start()
trial.finish("FINISHED")
parent.finish("FINISHED")
"""


def test_processes_that_open_a_study_at_once_share_one_run(tmp_path, uri, client, experiment):
    # Two in one folder, and one as another machine has it: with a folder of its own.
    places = [tmp_path / "here" / "sweep_lr", tmp_path / "here" / "sweep_lr", tmp_path / "there" / "sweep_lr"]
    processes = [python(OPEN_TOGETHER, uri, experiment, place, number) for number, place in enumerate(places)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    experiment_id = client.get_experiment_by_name(experiment).experiment_id
    (study,) = client.search_runs([experiment_id], "tags.kind = 'study'")
    trials = client.search_runs([experiment_id], "params.trial LIKE '%'")
    assert len(trials) == 3
    assert {trial.data.tags["mlflow.parentRunId"] for trial in trials} == {study.info.run_id}
    assert study.info.status == "FINISHED"


def test_machines_without_a_common_lock_settle_on_one_run(sweep, uri, client, experiment):
    experiment_id = client.create_experiment(experiment)
    found = []

    def begin() -> None:
        store = Store(uri)
        store.open()
        tags = {"kind": "study", "study": "lr"}
        found.append(store.make_study(lambda: store.client.create_run(experiment_id, tags=tags), experiment_id, "lr"))

    machines = [threading.Thread(target=begin) for _ in range(3)]
    for machine in machines:
        machine.start()
    for machine in machines:
        machine.join()
    (left,) = studies(client, experiment_id, "lr")
    assert [run.info.run_id for run in found] == [left.info.run_id] * 3


def test_a_grid_without_a_tracked_job_leaves_nothing_in_the_store(tmp_path, uri, client, experiment):
    grid = make_parent(tmp_path / "sweep", experiment, kind="grid", name="a", tracking={})
    parent = mlflow(grid, uri=uri)
    parent.start()
    new_run(grid.path / "0", experiment, parent="..")
    parent.finish("FINISHED")
    assert client.get_experiment_by_name(experiment) is None
    assert not grid.tracking.exists()


def test_what_a_sweep_has_not_sent_is_sent_when_asked_for(sweep, uri, client, experiment):
    node = {"_target_": "expkit.tracking.mlflow", "uri": uri}
    grid = make_parent(sweep, experiment, kind="grid", name="a", tracking=node)
    job = new_run(sweep / "0", experiment, parent="..")
    (job.path / "end.json").write_text(json.dumps({"status": "FINISHED", "time": 5, "tags": {"a": "b"}}))
    (grid.path / "end.json").write_text(json.dumps({"status": "FINISHED", "time": 6, "tags": {"c": "d"}}))
    send_rest(sweep)
    runs = runs_of(client, experiment)
    assert (runs["0"].info.status, runs["0"].data.tags["a"]) == ("FINISHED", "b")
    assert (runs[sweep.name].info.status, runs[sweep.name].data.tags["c"]) == ("FINISHED", "d")
    assert is_sent(job.path, uri)
    assert not is_sent(job.path, "sqlite:///elsewhere.db")


def test_folders_below_a_parent_are_its_runs_and_not_its_files(sweep, experiment):
    study = new_study(sweep, experiment)
    for number in (10, 9):
        new_trial(study, number)
    new_run(sweep / "2" / "seed_0", experiment, parent="../..")
    (sweep / "2" / ".hydra").mkdir()
    (sweep / "2" / ".hydra" / "config.yaml").touch()
    for name in ("plots/history.png", ".submitit/log", "study.db", "study.db-wal", "0.lock", "tracking.log"):
        (sweep / name).parent.mkdir(exist_ok=True)
        (sweep / name).touch()
    names = [str(path.relative_to(sweep)) for path in nested_in(sweep)]
    assert names == ["2/seed_0", "9", "10"]
    assert [str(path.relative_to(sweep)) for path in records_of(sweep)] == ["run.json", "plots/history.png"]
    assert parent_of(sweep / "2" / "seed_0") == sweep
    assert parent_of(sweep) is None


def test_a_run_whose_parent_is_gone_is_one_of_its_own(tmp_path, experiment):
    assert parent_of(new_run(tmp_path / "run", experiment, parent="../gone").path) is None


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (
            ["+experiment=pets", "epochs=3", "optim.lr=0.0031622776", "sched.pct_start=0.25"],
            "7 lr=0.00316 pct_start=0.25",
        ),
        (["optim.lr=1.2345678e-05", "lr_find.lr=2"], "7 optim.lr=1.23e-05 lr_find.lr=2"),
        (["epochs=3"], "7"),
        (["optim=sgd", "model.layers=[" + "7," * 60 + "7]", "epochs=5"], "7 sgd epochs=5 …"),
    ],
)
def test_a_trial_is_named_by_its_number_and_by_what_it_overrides_itself(sweep, experiment, overrides, name):
    make_parent(sweep, experiment, kind="study", name="a", tracking={}, overrides=["+experiment=pets", "epochs=3"])
    folder = new_run(sweep / "7", experiment, parent="..")
    folder.note(overrides=overrides)
    assert run_name(folder.path) == name


def test_a_parent_may_be_made_again_and_keeps_when_it_began(sweep, experiment):
    began = read_json(new_study(sweep, experiment).facts)["started"]
    again = make_parent(sweep, experiment, kind="study", name="lr", tracking={}, params={"n_trials": 9})
    assert read_json(again.facts)["started"] == began
    assert read_json(again.facts)["params"] == {"n_trials": 9}
