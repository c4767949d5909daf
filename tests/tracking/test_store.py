import shutil
from contextlib import suppress

from mlflow import MlflowClient

from expkit.tracking import mlflow
from expkit.tracking.nested import WITHDRAWN
from expkit.tracking.sending import Sending
from expkit.tracking.store import Store, open_store
from expkit.urls import sqlite_path, sqlite_url
from expkit.whole_files import read_json, write_json
from tests.tracking.runs import artifacts_of, new_run, steps_of, write_metrics, write_weights


def test_a_store_whose_making_was_cut_off_is_made_anew(tmp_path):
    (tmp_path / ".mlflow.db.partial").write_bytes(b"SQLite format 3\0 and no more")
    (tmp_path / ".mlflow.db.partial-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    experiment = open_store(uri).create_experiment("pets")
    assert MlflowClient(uri).get_experiment(experiment).name == "pets"
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_runs_of_folders_with_odd_names_land_there(tmp_path, uri, experiment):
    for number, name in enumerate(["who? feat%2Flr", 'it\'s "100%" a#b&c;ü:+']):
        project = tmp_path / name
        (project / "outputs").mkdir(parents=True)
        # A copy: to make the tables takes seconds.
        shutil.copy(sqlite_path(uri), project / "outputs" / "mlflow.db")
        store = sqlite_url(project / "outputs" / "mlflow.db")
        run = new_run(project / "outputs" / name, f"{experiment} {name}")
        write_metrics(run, range(number + 1))
        write_weights(run)
        tracker = mlflow(run, uri=store)
        tracker.start()
        tracker.finish("FINISHED")
        client = MlflowClient(store)
        assert steps_of(client, run) == list(range(number + 1))
        assert {"config.yaml", "metrics.jsonl", "checkpoints/model.safetensors"} <= artifacts_of(client, run)
        (model,) = client.search_logged_models([client.get_experiment_by_name(run.experiment).experiment_id])
        assert model.artifact_location.startswith((project / "outputs" / "mlartifacts").as_uri())
        run_id = read_json(run.tracking)["run_id"]
        sent = project / "outputs" / "mlartifacts" / run.experiment / run_id / "artifacts"
        assert (sent / "config.yaml").is_file()
        assert {path.name for path in project.iterdir()} == {"outputs"}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_that_was_refused_is_taken_back(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    refused, other = new_run(tmp_path / "refused", "test"), new_run(tmp_path / "other", "test")
    sent = {}
    for folder in (refused, other):
        sending = Sending(folder.path, Store(uri), lambda parent: 0)
        while sending.step() != "started":
            pass
        sent[folder] = sending
    sent[refused].end = {"status": WITHDRAWN, "time": 0, "tags": {}}
    with suppress(StopIteration):
        while True:
            sent[refused].step()
    (experiment,) = MlflowClient(uri).search_experiments(filter_string="name = 'test'")
    runs = MlflowClient(uri).search_runs([experiment.experiment_id])
    assert [run.info.run_id for run in runs] == [read_json(other.tracking)["run_id"]]


def test_the_load_of_the_machine_is_sent_where_it_is_asked_for(tmp_path, uri, client, experiment):
    for name, wanted in (("measured", True), ("usual", False)):
        run = new_run(tmp_path / name, experiment)
        tracker = mlflow(run, uri=uri, system_metrics=wanted)
        tracker.start()
        assert tracker.run_id()
        tracker.finish("FINISHED")
        metrics = client.get_run(tracker.run_id()).data.metrics
        assert (0 <= metrics["system/cpu_utilization_percentage"] <= 100) if wanted else not metrics


def test_an_older_run_gets_the_kind_of_its_experiment_and_its_images_once(tmp_path, uri, client, experiment):
    id_ = client.create_experiment(experiment, (tmp_path / "artifacts").as_uri())
    run = new_run(tmp_path / "run", experiment)
    for images in ({}, {"train": 6, "valid": 3, "test": 2}, {"train": 6, "valid": 3, "test": 2}):
        if images:  # those of a run that an earlier version sent are known, but not in the store
            write_json(run.result, {"fingerprint": "0123", "classes": ["a", "b"], "images": images})
        tracker = mlflow(run, uri=uri)
        tracker.start()
        tracker.finish("FINISHED")
        found = client.get_run(tracker.run_id()).inputs.dataset_inputs
        assert sorted((one.dataset.name, one.tags[0].value) for one in found) == [
            (f"data {split}", context)
            for split, context in (("test", "test"), ("train", "training"), ("valid", "validation"))
            if images
        ]
    assert client.get_experiment(id_).tags["mlflow.experimentKind"] == "custom_model_development"
