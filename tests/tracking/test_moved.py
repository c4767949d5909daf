"""Projects that were copied or renamed, with their store."""

import logging
import os
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from expkit.project import project_of
from expkit.run_folder import RunFolder
from expkit.tracking import folder_of, mlflow
from expkit.tracking.moved import take_along
from expkit.tracking.store import Store, experiment_id
from expkit.urls import sqlite_path, sqlite_url
from expkit.whole_files import read_json
from tests.tracking.runs import artifacts_of, new_run, new_study, new_trial, steps_of, write_metrics, write_weights


@pytest.fixture
def project(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty store, as the working directory."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "first"
    (path / "outputs").mkdir(parents=True)
    shutil.copy(sqlite_path(uri), path / "outputs" / "mlflow.db")
    monkeypatch.chdir(path)
    return path


def store_of(project: Path) -> MlflowClient:
    return MlflowClient(sqlite_url(project / "outputs" / "mlflow.db"))


def test_a_copy_goes_on_by_itself(project, experiment, monkeypatch, caplog):
    folder = new_run(project / "outputs" / "run", experiment)
    write_metrics(folder, range(3))
    tracker = mlflow(folder)
    tracker.start()
    tracker.finish("KILLED")
    run_id = read_json(folder.tracking)["run_id"]
    copy = project.with_name("second? %2F")
    shutil.copytree(project, copy)

    monkeypatch.chdir(copy)
    again = RunFolder.at(Path("outputs/run"))
    assert project_of(again.path, read_json(again.facts)) == copy
    write_metrics(again, range(3, 5))
    write_weights(again)
    tracker = mlflow(again)
    tracker.start()
    with caplog.at_level(logging.WARNING):
        tracker.finish("FINISHED")
    assert (
        f"came from {project / 'outputs'}: its artifacts are those in {copy / 'outputs' / 'mlartifacts'}" in caplog.text
    )
    assert read_json(again.tracking)["run_id"] == run_id
    assert steps_of(store_of(project), folder) == [0, 1, 2]
    assert steps_of(store_of(copy), again) == [0, 1, 2, 3, 4]
    assert "result.json" not in artifacts_of(store_of(project), folder)
    shutil.rmtree(project)
    assert "result.json" in artifacts_of(store_of(copy), again)
    assert folder_of(run_id, "sqlite:///outputs/mlflow.db") == again.path


def test_what_a_renamed_store_holds_is_found_where_it_is_now(project, experiment, tmp_path):
    client = store_of(project)
    number = experiment_id(client, experiment, sqlite_url(project / "outputs" / "mlflow.db"))
    run = client.create_run(number).info
    (project / "note.txt").write_text("kept")
    client.log_artifact(run.run_id, str(project / "note.txt"))
    client.create_registered_model("cats")
    client.create_model_version("cats", f"{run.artifact_uri}/model", run.run_id)
    renamed = project.rename(tmp_path / "renamed")
    take_along(renamed / "outputs" / "mlflow.db")
    client = store_of(renamed)
    assert Path(client.download_artifacts(run.run_id, "note.txt")).read_text() == "kept"
    here = (renamed / "outputs" / "mlartifacts").as_uri()
    assert client.get_experiment(number).artifact_location == f"{here}/{experiment}"
    assert client.get_model_version("cats", "1").source.startswith(here)
    assert client.get_experiment("0").artifact_location == f"{here}/Default"


def test_a_store_that_moved_without_its_artifacts_finds_them_and_writes_beside_itself(project, experiment, tmp_path):
    client = store_of(project)
    number = experiment_id(client, experiment, sqlite_url(project / "outputs" / "mlflow.db"))
    run = client.create_run(number).info
    (project / "note.txt").write_text("kept")
    client.log_artifact(run.run_id, str(project / "note.txt"))
    elsewhere = client.create_experiment("elsewhere", (tmp_path / "disk" / "mlartifacts" / "elsewhere").as_uri())
    (tmp_path / "disk" / "mlartifacts" / "elsewhere").mkdir(parents=True)
    alone = tmp_path / "alone" / "mlflow.db"
    alone.parent.mkdir()
    shutil.copy(project / "outputs" / "mlflow.db", alone)
    take_along(alone)
    client = MlflowClient(sqlite_url(alone))
    assert Path(client.download_artifacts(run.run_id, "note.txt")).read_text() == "kept"
    assert client.create_run(number).info.artifact_uri.startswith(alone.parent.as_uri())
    assert client.get_experiment(elsewhere).artifact_location.startswith((tmp_path / "disk").as_uri())


def test_a_copied_run_folder_is_another_run_and_a_moved_one_the_same(project, experiment):
    store = Store(sqlite_url(project / "outputs" / "mlflow.db"))
    store.open()
    folder = new_run(project / "outputs" / 'it\'s a "run"', experiment)
    first = store.run_of(folder.path).info.run_id
    assert store.run_of(folder.path).info.run_id == first
    shutil.copytree(folder.path, project / "outputs" / "copy")
    assert store.run_of(project / "outputs" / "copy").info.run_id != first
    moved = folder.path.rename(project / "outputs" / "moved")
    assert store.run_of(moved).info.run_id == first
    assert store.client.get_run(first).data.tags["folder"] == "moved"


def test_trials_and_their_study_move_together(project, experiment):
    store = Store(sqlite_url(project / "outputs" / "mlflow.db"))
    store.open()
    study = new_study(project / "outputs" / "sweep", experiment)
    run = store.run_of(new_trial(study, 0).path)
    copy = project.with_name("copy")
    shutil.copytree(project, copy)
    os.chdir(copy)
    there = Store(sqlite_url(copy / "outputs" / "mlflow.db"))
    there.open()
    trial = there.run_of(copy / "outputs" / "sweep" / "0")
    assert trial.info.run_id == run.info.run_id
    assert there.parent_id(copy / "outputs" / "sweep") == run.data.tags["mlflow.parentRunId"]


def test_paths_below_the_project_are_kept_relative_to_it(project):
    inside, outside = f"{project}/data", f"{project}2/data"
    values = {"data": {"root": inside, "other": [outside, 3]}, "tracking": {"uri": f"sqlite:///{project}/a b.db"}}
    folder = RunFolder.create(project / "outputs" / "run", "test", values, [])
    text = folder.config.read_text()
    assert "root: data\n" in text
    assert outside in text
    assert "sqlite+pysqlite:///a%20b.db" in text


def test_a_run_folder_that_was_moved_alone_leaves_its_paths_to_the_working_directory(project, tmp_path, caplog):
    folder = RunFolder.create(project / "outputs" / "run", "test", {}, [])
    alone = folder.path.rename(tmp_path / "alone")
    assert project_of(alone, read_json(alone / "run.json")) == project
    assert "it lay at outputs/run of its project, and was moved from there" in caplog.text
