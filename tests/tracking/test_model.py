"""The model that a run leaves in MLflow, for real: registered, loaded, served, with the run's folder and without."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from socketserver import ThreadingMixIn
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import numpy as np
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from PIL import Image
from sklearn.datasets import load_digits

import expkit
from expkit.errors import UserError
from expkit.run_folder import RunFolder
from expkit.tracking import mlflow
from expkit.tracking.finding import find_run
from expkit.tracking.model import requirement
from expkit.tracking.registering import check_name
from expkit.tracking.senders import close_senders
from expkit.whole_files import read_json
from tests.conftest import SMALL_MODEL
from tests.tracking.runs import wait_until

PHOTOS = 40
"""Images for validation: a batch, in the run and of a request."""

ALONE = """
import json, sys
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from packaging.requirements import Requirement

model, photos = sys.argv[1:]
waiting = [line.strip() for line in Path(model, "requirements.txt").read_text().splitlines()]
needed = set()
while waiting:
    wanted = Requirement(waiting.pop())
    name = wanted.name.lower().replace("_", "-")
    if name in needed or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
        continue
    needed.add(name)
    try:
        waiting += distribution(name).requires or []
    except PackageNotFoundError:
        pass  # an optional one of theirs
needed.add("expkit")  # whose code goes along
owners = packages_distributions()
absent = {top for top, names in owners.items() if not needed & {name.lower().replace("_", "-") for name in names}}
assert "hydra" in absent and "optuna" in absent, "or this shows nothing"


class Present(PathFinder):  # finds no module of a package that is not needed
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Present

import mlflow

table = mlflow.pyfunc.load_model(model).predict([photos])
import expkit

print(json.dumps([expkit.__file__, table["class"].tolist(), table["confidence"].tolist()]))
"""


def test_versions_of_the_model_are_those_that_every_index_knows(tmp_path, monkeypatch):
    info = tmp_path / "locally_built-2.14.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: locally-built\nVersion: 2.14.1+cu130\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert requirement("locally-built") == "locally-built==2.14.1"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A directory in which a run on photos of digits was trained and registered; its folder is called `gone` now."""
    home = tmp_path_factory.mktemp("project")
    digits = load_digits()
    for number, (picture, label) in enumerate(zip(digits.images[:120], digits.target, strict=False)):
        path = home / "photos" / ("valid" if number < PHOTOS else "train") / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture * 255 / 16).round().astype(np.uint8)).save(path)
    arguments = ["data=folders", "data.root=photos", "epochs=1", "image_size=16", "num_workers=0", *SMALL_MODEL]
    said = python("-m", "expkit", *arguments, "tracking.register=digits", "hydra.run.dir=outputs/run", cwd=home)
    assert "  model    registered as models:/digits/1\n" in said
    assert "  predict  python -m expkit run=outputs/run task=predict task.source=PHOTOS\n" in said
    (home / "outputs" / "run").rename(home / "outputs" / "gone")
    return home


def python(*arguments, cwd):
    """What a process of Python says on standard output, without the variables that other tests may set."""
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def validated(home):
    """The paths of the validation images, and what the run said of them."""
    rows = pq.read_table(home / "outputs" / "gone" / "predictions.parquet").to_pylist()
    paths = [str(home / "photos" / row["file"]) for row in rows]
    return paths, [row["prediction"] for row in rows], [row["confidence"] for row in rows]


def test_a_logged_model_needs_no_package_but_those_that_it_names(project, tmp_path):
    (model,) = project.glob("outputs/mlartifacts/**/MLmodel")
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(tmp_path / "grey.png")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-P", "-c", ALONE, str(model.parent), str(tmp_path / "grey.png")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file, classes, confidences = json.loads(done.stdout.splitlines()[-1])
    assert Path(file).parts[-3:] == ("code", "expkit", "__init__.py"), "the code that went along, not this one"
    assert len(classes) == len(confidences) == 1


@pytest.fixture
def store(project, tmp_path, monkeypatch):
    """The project's store as the default one, and a cache of its own; the working directory is another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/outputs/mlflow.db")
    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


def test_a_registered_model_is_used_though_its_run_folder_is_gone(project, store):
    run_id = read_json(project / "outputs" / "gone" / "result.json")["run_id"]
    assert store.get_model_version("digits", "1").run_id == run_id
    store.set_registered_model_alias("digits", "champion", "1")
    paths, classes, confidences = validated(project)
    before = dict(os.environ)
    for name in ("models:/digits/1", "models:/digits/latest", "models:/digits@champion", run_id):
        assert find_run(name).path.name == run_id
    table = expkit.load("models:/digits/1").predict(paths)
    assert (table["class"].tolist(), table["confidence"].tolist()) == (classes, confidences)
    assert os.environ == before


def test_a_run_that_is_here_is_used_itself(project, store):
    (project / "outputs" / "gone").rename(project / "outputs" / "run")
    try:
        assert find_run("models:/digits/1") == RunFolder(project / "outputs" / "run", "photos")
    finally:
        (project / "outputs" / "run").rename(project / "outputs" / "gone")


def test_a_version_that_is_not_there_is_refused_with_those_that_are(store):
    for name, words in {
        "models:/digitz/1": "has no model 'digitz'; did you mean 'digits'?",
        "models:/digits/7": "has no version 7 of the model digits; it has 1",
        "models:/digits@none": "has no version @none of the model digits; it has 1",
        "models:/digits": "names no version of a model: write models:/NAME/VERSION",
    }.items():
        with pytest.raises(UserError, match=words.replace("?", r"\?")):
            find_run(name)


@pytest.fixture(scope="module")
def server(project):
    """The address of `mlflow models serve` for the run, whose folder is gone."""
    run_id = read_json(project / "outputs" / "gone" / "result.json")["run_id"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"runs:/{run_id}/model", "-p", str(port)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{project}/outputs/mlflow.db"}
    with open(project / "served.txt", "w") as said:
        process = subprocess.Popen(
            [*command, "--env-manager", "local"],
            cwd=project, env=environment, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
        try:
            wait_until(lambda: is_up(port, process), 300)
            yield f"http://127.0.0.1:{port}/invocations"
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with the process that it has started
            process.wait()


def is_up(port, process):
    """Whether the server answers. Fails where it has ended."""
    assert process.poll() is None, "see served.txt"
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=10).status == 200
    except OSError:
        return False


def asked(address, **request):
    """What the server says to a request in JSON: its status, and the answer."""
    body = urllib.request.Request(address, json.dumps(request).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(body, timeout=120) as answer:
            return answer.status, json.load(answer).get("predictions")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_served_model_says_what_the_run_did_to_the_bit(project, server):
    paths, classes, confidences = validated(project)
    photos = [base64.b64encode(Path(path).read_bytes()).decode() for path in paths]
    table = {"columns": ["image"], "data": [[photo] for photo in photos]}
    for form in ({"inputs": photos}, {"dataframe_split": table}):
        status, rows = asked(server, **form)
        assert status == 200, rows
        assert [row["class"] for row in rows] == classes
        assert [row["confidence"] for row in rows] == confidences
    status, rows = asked(server, inputs=photos, params={"probabilities": True})
    assert status == 200, rows
    names = [f"p_{label}" for label in range(10)]
    assert all(list(row) == ["class", "confidence", *names] for row in rows)
    assert [max(row[name] for name in names) for row in rows] == confidences
    status, said = asked(server, inputs=["no image"])
    assert status == 400
    assert "image 1 of the request has the text 'no image', which is neither the path of a file here nor base64" in said


def test_an_evaluation_of_a_run_that_was_taken_from_the_store_comes_to_the_same_run(project, store, tmp_path):
    run_id = read_json(project / "outputs" / "gone" / "result.json")["run_id"]
    expkit.load(run_id).evaluate(project / "photos", split="valid", resamples=10)
    close_senders()
    run = store.get_run(run_id)
    assert run.data.tags["folder"] == "run", "where it is sent from, if that is here again"
    assert run.data.metrics["valid/accuracy"] == run.data.metrics["valid_accuracy"]
    kept = Path(store.download_artifacts(run_id, "metrics.jsonl", tmp_path)).read_text()
    assert '"train_loss"' in kept
    assert '"valid/accuracy"' in kept
    assert store.list_artifacts(run_id, "evaluations")


@pytest.mark.parametrize("name", ["a/b", "a:1", " ", "..", "it's", "50%"])
def test_what_can_be_no_name_of_a_model_is_refused(name):
    with pytest.raises(UserError, match="can be no name of a model: write one without"):
        check_name(name)


def test_a_store_without_a_registry_is_refused_before_training(store, tmp_path, monkeypatch):
    folder = RunFolder.create(tmp_path / "run", "test", {}, [])
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "file:./registry")
    with pytest.raises(UserError, match=r"tracking\.register=digits: sqlite.* has no registry of models that answers"):
        mlflow(folder, register="digits").start()
    assert {path.name for path in folder.path.iterdir()} == {"config.yaml", "run.json"}


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, *_):  # pytest shows what matters
        pass


@pytest.fixture
def served_store(tmp_path, monkeypatch):
    """The address of MLflow's own server, in a thread of this process, over an empty store with its artifacts."""
    from mlflow.server import app, handlers

    database = f"sqlite:///{tmp_path}/server/mlflow.db"
    (tmp_path / "server").mkdir()
    monkeypatch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", str(tmp_path / "server" / "artifacts"))
    for kept in ("_tracking_store", "_model_registry_store", "_artifact_repo"):
        monkeypatch.setattr(handlers, kept, None)
    handlers.initialize_backend_stores(database, database, "mlflow-artifacts:/")
    with make_server("127.0.0.1", 0, app, Server, Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_run_is_sent_to_a_server_and_used_from_there_though_its_folder_is_gone(
    project, served_store, tmp_path, monkeypatch
):
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path / "cache"))
    folder = RunFolder(tmp_path / "run", "photos")
    shutil.copytree(project / "outputs" / "gone", folder.path)
    for sent in ("tracking.json", "end.json"):
        (folder.path / sent).unlink(missing_ok=True)
    tracker = mlflow(folder, uri=served_store, register="digits")
    tracker.start()
    tracker.finish("FINISHED")
    close_senders()
    run_id = read_json(folder.tracking)["run_id"]
    shutil.rmtree(folder.path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served_store)
    paths, classes, confidences = validated(project)
    for name in ("models:/digits/1", run_id):
        found = find_run(name)
        assert found.path.is_relative_to(tmp_path / "cache")
        table = expkit.load(found.path).predict(paths)
        assert (table["class"].tolist(), table["confidence"].tolist()) == (classes, confidences)
    with pytest.raises(UserError, match="has no version 7 of the model digits; it has 1"):
        find_run("models:/digits/7")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot look up .*: http://127\.0\.0\.1:9 does not answer"):
        find_run("models:/digits/1")
