import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from expkit.check import check_arguments
from expkit.errors import UserError
from expkit.project import kept_url
from expkit.run_folder import RunFolder
from expkit.tracking import mlflow
from expkit.tracking.address import check_address, problem_of, silence_of, store_of, store_of_run

MEANT = {
    "localhost:5000": "http://localhost:5000",
    "mlflow.example.com": "http://mlflow.example.com",
    "http:/host:5000": "http://host:5000",
    "http//host": "http://host",
    "htp://host": "http://host",
    "HTTPS://host": "https://host",
    "http://host:5000/#/experiments/1": "http://host:5000",
    "mlruns": "sqlite:///outputs/mlflow.db",
    "./mlruns": "sqlite:///outputs/mlflow.db",
    "file:./mlruns": "sqlite:///outputs/mlflow.db",
    "file:///data/mlruns": "sqlite:///outputs/mlflow.db",
    "outputs/mlflow.db": "sqlite:///outputs/mlflow.db",
    "/data/a b.db": "sqlite+pysqlite:////data/a%20b.db",
    "sqlite:mlflow.db": "sqlite:///mlflow.db",
    "sqlite:/data/mlflow.db": "sqlite:////data/mlflow.db",
    "sqlite://mlflow.db": "sqlite:///mlflow.db",
    "sqlite3:///mlflow.db": "sqlite:///mlflow.db",
    "sqllite:///mlflow.db": "sqlite:///mlflow.db",
    "SQLite:///mlflow.db": "sqlite:///mlflow.db",
    "sqlite:///who? a/mlflow.db": "sqlite+pysqlite:///who%3F%20a/mlflow.db",
    "sqlite:///:memory:": "sqlite:///FILE.db",
    "sqlite:///folder": "sqlite:///folder/mlflow.db",
    "sqlite:///text.db": "file is not a database",
    "sqlite:///text.db/mlflow.db": "text.db is a file and no folder",
    "sqlite:///study.db": "a database of something else",
    "postgres://host/db": "postgresql://host/db",
    "mysql+nothere://host/db": "mysql+pymysql://host/db",
    "s3://bucket/runs": "postgresql+psycopg://user@host/name",
    " http://host": "http://host",
    "http://": "names no host",
    "http://a..b:5000": "names no host that can be",
    "http://local host:5000": "names no host that can be",
    "sqlite:///$SOMEWHERE/mlflow.db": "sqlite:////data/mlflow.db",
    "~nobody-of-this-name/mlflow.db": "sqlite",
    "sqlite:///locked/deeper/mlflow.db": "locked cannot be written to",
    "mlflow-artifacts:/": "sqlite:///outputs/mlflow.db",
    "none": "tracking=none",
    "": "leave it out",
    "http://host:port": "no number for a port",
    "foo": "sqlite:///outputs/mlflow.db",
}


@pytest.mark.parametrize("uri", MEANT)
def test_an_address_that_cannot_work_is_refused_with_what_was_meant(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "locked").mkdir()
    writable = os.access  # root may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and writable(path, mode))
    monkeypatch.setenv("SOMEWHERE", "/data")
    (tmp_path / "text.db").write_text("some other file, of more than sixteen characters")
    with closing(sqlite3.connect("study.db")) as database:
        database.execute("CREATE TABLE trials (number)")
    with pytest.raises(UserError) as refused:
        check_arguments(mlflow, {"uri": uri}, "tracking")
    assert str(refused.value).startswith(f"tracking.uri={uri} ")
    assert MEANT[uri] in str(refused.value)


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost:5000",
        "https://me@host/mlflow/",
        "sqlite:///outputs/mlflow.db",
        "sqlite:////data/a b/mlflow.db?timeout=30",
        "postgresql+psycopg://me:p%40ss@host/db",
        "databricks",
    ],
)
def test_an_address_that_can_work_is_taken(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert problem_of(uri) is None


def test_a_password_is_not_in_a_refusal():
    for uri in ("postgres://me:hunter2@host/db", "postgresql://me:hunt/er2@host/db", "me:hunter2@host:5000"):
        with pytest.raises(UserError) as refused:
            check_address(uri)
        assert "hunt" not in str(refused.value)


def test_the_key_comes_before_the_variable_and_that_before_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store_of(None) == f"sqlite:///{tmp_path}/outputs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
    assert store_of(None) == "http://there:5000"
    assert store_of("sqlite:///runs.db") == f"sqlite:///{tmp_path}/runs.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "there:5000")
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI=there:5000 is no URL: did you mean http://there:5000\?"):
        store_of(None)


def test_a_run_that_was_moved_alone_has_its_store_where_one_is_looked_for(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "project" / "outputs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    folder = RunFolder.create(Path("outputs/photos/run").absolute(), "photos", {}, [])
    own = f"sqlite:///{tmp_path}/project/outputs/mlflow.db"
    folder.note(store=kept_url(own, folder.path))
    assert store_of_run(folder, None) == own, "also where it was deleted"
    folder.path.rename(tmp_path / "project" / "run")
    moved = RunFolder(tmp_path / "project" / "run", "photos")
    assert store_of_run(moved, None) == own
    assert "was moved away from its store: from now on it is tracked in sqlite:///outputs/mlflow.db" in caplog.text
    assert store_of_run(moved, "sqlite:///b.db") == f"sqlite:///{tmp_path}/project/b.db"


def test_a_server_where_nobody_listens_is_told_at_once():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert silence_of(address) is None
    assert silence_of(address) == "127.0.0.1: Connection refused"
    assert silence_of("sqlite:///outputs/mlflow.db") is None
