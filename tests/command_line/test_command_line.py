"""The command line as a person uses it: real processes, a real MLflow store, real signals."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from expkit.whole_files import read_json
from tests.conftest import SMALL_MODEL
from tests.forked import expkit, start, wait_until
from tests.tracking import runs

TRACKED = ("+experiment=digits", "epochs=3", "image_size=16", "batch_size=16", *SMALL_MODEL, "task.report=false")
SMALL = (*TRACKED, "tracking=none")
STEPS = 3 * 89


def only_run(cwd: Path) -> Path:
    (folder,) = (path for path in (cwd / "outputs").glob("*/*") if (path / ".hydra").is_dir())
    return folder


def last_weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["model"]


def test_without_arguments_the_experiments_are_listed(tmp_path):
    status, out, _ = expkit(cwd=tmp_path)
    assert status == 0
    assert "\n  digits " in out
    assert "\n  pets " in out
    assert not list(tmp_path.iterdir())


def test_help_shows_groups_and_examples(tmp_path):
    status, out, _ = expkit("--help", cwd=tmp_path)
    assert status == 0
    assert "\noptim: adadelta, adagrad, adam" in out
    assert "python -m expkit +experiment=digits" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["+experiment=digit"], "error: experiment=digit is no choice of experiment; did you mean 'digits'?"),
        (["+experiment=digits", "optim=adm"], "error: optim=adm is no choice of optim; did you mean 'adam'?"),
        (["+experiment=digits", "optim.lrr=1"], "error: optim.lrr is no key of optim; did you mean 'lr'?"),
        (["+experiment=digits", "optimm=adam"], "error: optimm is no key of the config; did you mean 'optim'?"),
        (["experiment=digits"], "error: write +experiment=NAME, with a plus sign"),
        (
            ["+experiment=digits", "epochs=0"],
            "error: epochs must be a whole number of at least 1 or one of auto, got 0",
        ),
        (["data=csv"], "error: data.file has no default: give it as data.file=VALUE"),
        (["resume=nowhere"], "error: nowhere is neither a run folder nor the id of a run"),
        (
            [f"resume={'0' * 32}"],
            f"error: {'0' * 32} is neither a run folder nor the id of a run in sqlite:///outputs/mlflow.db: give",
        ),
    ],
)
def test_mistakes_are_answered_in_one_message_and_leave_nothing(tmp_path, arguments, message):
    status, _, err = expkit(*arguments, cwd=tmp_path)
    assert status == 1
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("outputs/*/*"))


def test_help_and_mistakes_come_before_torch_is_imported(tmp_path):
    for arguments in (["--help"], ["+experiment=digits", "epochs=0"]):
        code = f"""
import sys
sys.argv = ["expkit", *{arguments}]
from expkit.__main__ import main
try:
    main()
except SystemExit:
    pass
assert not {{"torch", "mlflow", "pandas", "matplotlib"}} & set(sys.modules)
"""
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


@pytest.fixture(scope="module")
def tracked_run(tmp_path_factory) -> Path:
    cwd = tmp_path_factory.mktemp("tracked")
    arguments = ("+experiment=digits", "epochs=2", "image_size=16", "optim.lr={start: 1e-4, stop: 1e-2}")
    status, out, err = expkit(*arguments, cwd=cwd)
    assert status == 0, err
    then = "\n           then http://127.0.0.1:5000/#/experiments/1/runs\n"
    assert f"mlflow ui --backend-store-uri sqlite:///outputs/mlflow.db{then}" in out
    return only_run(cwd)


def test_a_run_leaves_its_whole_record(tracked_run):
    result = json.loads((tracked_run / "result.json").read_text())
    assert result["objective"]["name"] == "valid_accuracy"
    assert result["objective"]["value"] == result["metrics"]["best"]["valid_accuracy"] > 0.5
    assert (result["epochs"], result["steps"], result["precision"] in ("bf16", "fp32")) == (2, 44, True)
    assert result["classes"] == [str(digit) for digit in range(10)]
    assert result["images_per_second"] > 0
    traces = pq.read_table(tracked_run / "traces.parquet").to_pandas()
    assert traces["step"].tolist() == list(range(44))
    assert traces["lr_0"].max() == pytest.approx(1e-4, rel=1e-2)
    assert traces["lr_2"].max() == pytest.approx(1e-2, rel=1e-2)
    assert {"mom_1", "wd_2", "sqr_mom_0", "eps_0", "train_loss", "train_loss_smoothed"} < set(traces)
    predictions = pd.read_parquet(tracked_run / "predictions.parquet")
    assert (predictions["label"] == predictions["prediction"]).mean() == result["objective"]["value"]
    for name in ("losses", "schedule", "confusion", "top_losses", "batch", "by_class", "reliability"):
        assert Image.open(tracked_run / "plots" / f"{name}.png").width > 300
    for name in ("last.pt", "best.safetensors", "model.safetensors"):
        assert (tracked_run / "checkpoints" / name).stat().st_size > 1_000_000
    assert ".hydra" in {path.name for path in tracked_run.iterdir()}


def test_mlflow_holds_params_metrics_traces_tags_and_files(tracked_run):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tracked_run.parents[1]}/mlflow.db")
    result = json.loads((tracked_run / "result.json").read_text())
    run = client.get_run(result["run_id"])
    assert run.info.status == "FINISHED"
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.name == "digits"
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert run.info.run_name == "resnet18 adam one_cycle scratch epochs=2 image_size=16 lr={start: 1e-4, stop: 1e-2}"
    assert run.data.params.items() >= {"optim.lr.stop": "0.01", "optim": "adam", "transfer": "scratch"}.items()
    assert not [name for name in run.data.params if "_target_" in name]
    command = "python -m expkit +experiment=digits epochs=2 image_size=16 'optim.lr={start: 1e-4, stop: 1e-2}'"
    page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/report.html"
    assert run.data.tags["mlflow.note.content"] == f"```sh\n{command}\n```\n\n[report.html]({page})"
    inputs = [(one.dataset.name, one.dataset.digest, one.tags[0].value) for one in run.inputs.dataset_inputs]
    fingerprint = result["fingerprint"]
    assert sorted(inputs) == [("digits train", fingerprint, "training"), ("digits valid", fingerprint, "validation")]
    assert json.loads(run.inputs.dataset_inputs[0].dataset.profile)["classes"] == 10
    assert run.data.params["epochs"] == "2"
    assert run.data.tags["fingerprint"] == result["fingerprint"]
    assert {"torch", "mlflow", "expkit", "python"} < set(run.data.tags)
    for name in ("train_loss", "valid_loss", "valid_accuracy", "valid_error_rate", "valid_f1"):
        assert [point.step for point in client.get_metric_history(result["run_id"], name)] == [1, 2]
    for name in ("batch/train_loss", "hp/lr_0", "hp/lr_1", "hp/lr_2", "hp/mom_0", "hp/wd_0"):
        assert [point.step for point in client.get_metric_history(result["run_id"], name)] == list(range(44))
    assert not {"hp/mom_1", "hp/wd_2"} & set(run.data.metrics), "these are the same in all groups"
    artifacts = {entry.path for entry in client.list_artifacts(result["run_id"])}
    assert {"checkpoints", "plots", ".hydra", "report.html", "result.json", "traces.parquet"} <= artifacts


def test_the_logged_model_predicts_class_names_for_bytes_and_arrays(tracked_run):
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{tracked_run.parents[1]}/mlflow.db")
    run_id = json.loads((tracked_run / "result.json").read_text())["run_id"]
    model = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    digits = load_digits()
    arrays = [np.repeat(image[..., None] * 15.9, 3, axis=2).astype(np.uint8) for image in digits.images[:300]]
    files = [png(array) for array in arrays]
    from_bytes, from_arrays = model.predict(files), model.predict(pd.DataFrame({"image": arrays}))
    assert from_bytes["class"].tolist() == from_arrays["class"].tolist()
    assert (from_bytes["class"] == digits.target[:300].astype(str)).mean() > 0.5
    assert model.metadata.signature.outputs.input_names() == ["class", "confidence"]


def png(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory) -> Path:
    """A run with hashes of its own seed, which the commands beside it do not share."""
    cwd = tmp_path_factory.mktemp("whole")
    subprocess.run([sys.executable, "-m", "expkit", *SMALL], cwd=cwd, check=True, capture_output=True)
    return only_run(cwd)


def assert_same(first: Path, second: Path) -> None:
    """Two finished runs came to the same bits: state, exported files, every metric and trace, and the result."""
    ours, theirs = last_weights(first), last_weights(second)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for name in ("checkpoints/best.safetensors", "checkpoints/model.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    for name in ("predictions.parquet", "traces.parquet"):
        assert pq.read_table(first / name).equals(pq.read_table(second / name))
    assert points(first) == points(second)
    results = [read_json(folder / "result.json") for folder in (first, second)]
    for key in ("objective", "metrics", "best_epoch", "epochs", "steps", "fingerprint"):
        assert results[0][key] == results[1][key]


def points(folder: Path) -> list[tuple[str, int, float]]:
    """Every metric but for its time; a repeated step stands once."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return sorted((line["name"], line["step"], line["value"]) for line in lines)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_a_checkpoint_from_which_resume_gives_the_same_bits(tmp_path, whole_run, number, status):
    process = start(*SMALL, cwd=tmp_path)
    # The first epoch is over; before the first step a signal ends the process at once.
    written = "outputs/digits/*/metrics.jsonl"
    wait_until(lambda: any(path.stat().st_size for path in tmp_path.glob(written)), process)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == status
    folder = only_run(tmp_path)
    assert f"python -m expkit resume={folder.relative_to(tmp_path)}" in err
    stopped = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["state"]
    assert stopped["step"] < STEPS
    status, _, err = expkit(f"resume={folder}", cwd=tmp_path)
    assert status == 0, err
    assert_same(whole_run, folder)
    assert len(pq.read_table(folder / "traces.parquet")) == STEPS


def test_a_killed_run_resumes_in_the_same_mlflow_run_to_the_same_bits(tmp_path, whole_run):
    arguments = ("tracking=mlflow", "trainer.checkpoint_every=3")
    process = start(*TRACKED, *arguments, cwd=tmp_path)
    wait_until(lambda: list(tmp_path.glob("outputs/digits/*/checkpoints/last.pt")), process)
    time.sleep(0.5)
    process.kill()
    process.communicate()
    folder = only_run(tmp_path)
    tracking = folder / "tracking.json"
    runs.wait_until(lambda: read_json(tracking).get("status") == "KILLED")
    run_id = json.loads(tracking.read_text())["run_id"]
    status, _, err = expkit(f"resume={run_id}", cwd=tmp_path)
    assert status == 0, err
    assert_same(whole_run, folder)
    status, out, err = expkit("resume=.", cwd=folder)  # finished, and asked for from elsewhere: nothing is left to do
    assert status == 0, err
    assert "valid_accuracy" in out
    assert not (folder / "outputs").exists()

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    assert client.get_run(run_id).info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(run_id, "valid_loss")] == [1, 2, 3]
    assert [point.step for point in client.get_metric_history(run_id, "hp/lr_0")] == list(range(STEPS))
    assert json.loads((folder / "result.json").read_text())["run_id"] == run_id


def test_a_required_store_out_of_reach_ends_the_run_before_training(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"SQLite format 3\0 and no more")
    uri = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    status, _, err = expkit(*TRACKED, uri, "tracking.required=true", cwd=tmp_path)
    assert status == 1
    assert "tracking.required is true" in err
    assert not list(tmp_path.glob("outputs/*/*/metrics.jsonl"))


def test_a_loss_that_is_no_number_ends_the_run_with_advice(tmp_path):
    status, _, err = expkit(*SMALL, "optim=sgd", "optim.lr=1e30", "trainer.precision=fp32", cwd=tmp_path)
    assert status == 1
    assert "the training loss became" in err
    assert "smaller optim.lr" in err


def test_a_schedule_is_drawn_without_training(tmp_path):
    status, out, err = expkit("task=plot_schedule", "sched=sgdr", "epochs=7", cwd=tmp_path)
    assert status == 0, err
    assert Image.open(out.strip()).width > 300
    status, _, err = expkit("task=plot_schedule", "sched=sgdr", "epochs=8", cwd=tmp_path)
    assert status == 1
    assert "epochs=7 or epochs=15" in err


def test_a_folder_with_a_run_is_left_as_it_is(tracked_run, tmp_path):
    before = {path: path.read_bytes() for path in tracked_run.rglob("*.yaml")}
    status, _, err = expkit(*SMALL, f"hydra.run.dir={tracked_run}", cwd=tmp_path)
    assert status == 1
    assert f"{tracked_run} holds a run already" in err
    assert {path: path.read_bytes() for path in tracked_run.rglob("*.yaml")} == before


def test_a_bad_job_leaves_the_others_of_a_grid_their_turn(tmp_path):
    status, _, err = expkit("-m", *SMALL, "epochs=1", "optim.wd=-1,0.1", cwd=tmp_path)
    assert status == 1
    assert "optim.wd must be" in err
    assert "1 of 2 jobs failed: 0" in err
    assert list(tmp_path.glob("outputs/digits/sweep_*/1/result.json"))


def test_a_run_is_sent_to_a_server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "files"),
    ]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # A session of its own, so that its workers end with it.
    alone = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # which is for language models
    server = subprocess.Popen(
        [*command, *store], cwd=tmp_path, env=alone, start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        uri = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{uri}/health"), server)
        status, out, err = expkit(*TRACKED, "epochs=1", f"tracking.uri={uri}", cwd=tmp_path)
        assert status == 0, err
        assert f"compare  {uri}/#/experiments/1/runs\n" in out

        from mlflow import MlflowClient

        run_id = json.loads((only_run(tmp_path) / "result.json").read_text())["run_id"]
        client = MlflowClient(uri)
        assert client.get_run(run_id).info.status == "FINISHED"
        assert "plots" in {entry.path for entry in client.list_artifacts(run_id)}
    finally:
        os.killpg(server.pid, signal.SIGKILL)


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=2).status == 200
    except OSError:
        return False


@pytest.mark.parametrize("where", ["outputs/" + 300 * "x", "file/run"])
def test_a_run_folder_that_cannot_be_made_is_named_in_a_sentence(where, tmp_path):
    (tmp_path / "file").touch()
    status, _, err = expkit("+experiment=digits", f"hydra.run.dir={where}", cwd=tmp_path)
    assert (status, err.count("\n")) == (1, 1)
    assert re.search(r"^error: .* cannot be made .*hydra\.run\.dir=DIR", err)


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="this system has no directory in which nobody may write")
def test_a_working_directory_that_cannot_be_written_to_is_named_in_a_sentence():
    status, _, err = expkit("+experiment=digits", "tracking=none", cwd=Path("/sys"))
    assert (status, err.count("\n")) == (1, 1)
    assert re.search(r"^error: .* cannot be made .*hydra\.run\.dir=DIR", err)


def test_a_server_that_is_down_is_told_in_seconds_where_a_run_is_asked_for(tmp_path, monkeypatch):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    status, _, err = expkit(f"resume={'0' * 32}", cwd=tmp_path)
    assert status == 1
    assert f"error: cannot look up the run {'0' * 32}: {address} does not answer" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [[], ["+experiment=digits", "epochs=1", "tracking=none", *SMALL_MODEL]])
def test_an_output_that_nobody_reads_is_no_traceback(tmp_path, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "expkit", *arguments]
    with os.fdopen(writing) as closed:
        done = subprocess.run(command, cwd=tmp_path, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "stopped: nobody reads the output any more\n")
