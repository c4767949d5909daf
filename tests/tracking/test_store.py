from mlflow import MlflowClient

from expkit.tracking.store import open_store


def test_a_store_whose_making_was_cut_off_is_made_anew(tmp_path):
    (tmp_path / ".mlflow.db.partial").write_bytes(b"SQLite format 3\0 and no more")
    (tmp_path / ".mlflow.db.partial-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    experiment = open_store(uri).create_experiment("pets")
    assert MlflowClient(uri).get_experiment(experiment).name == "pets"
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock"}
