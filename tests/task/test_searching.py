"""`task=lr_find` as a person uses it, and runs that ask the LR finder for their rate."""

import json
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from expkit.errors import UserError
from expkit.run_folder import RunFolder
from expkit.task import lr_find, train
from tests.command_line.test_command_line import only_run
from tests.conftest import SMALL_MODEL, composed
from tests.forked import expkit, start, wait_until

TINY = ("+experiment=digits", "image_size=16", "batch_size=64", *SMALL_MODEL)


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> tuple[Path, str]:
    """The folder of a search on the second phase of a recipe, with a way of the user's own, and what it printed."""
    cwd = tmp_path_factory.mktemp("searched")
    (cwd / "my_ways.py").write_text("def middle(lrs, losses):\n    return lrs[len(losses) // 2]\n")
    settings = ("task.phase=all", "lr_find.suggest=my_ways.middle", "lr_find.scale=0.1", "lr_find.num_it=40")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPKIT_TRUST", "my_ways")
        status, out, err = expkit("task=lr_find", *TINY, "transfer=fine_tune", *settings, cwd=cwd)
    assert status == 0, err
    return only_run(cwd), out


def test_a_search_prints_all_suggestions_with_the_chosen_one_marked(searched):
    folder, out = searched
    found = json.loads((folder / "lr_find.json").read_text())
    assert list(found["suggestions"]) == ["valley", "slide", "minimum", "steep", "my_ways.middle"]
    for way, lr in found["suggestions"].items():
        (line,) = (line for line in out.splitlines() if line.startswith(way))
        assert f"{lr:.3g}" in line
        assert ("chosen" in line) is (way == "my_ways.middle")
    assert found["lr"] == found["suggestions"]["my_ways.middle"] * 0.1
    assert f"learning rate of the head: {found['lr']:.3g} (my_ways.middle x lr_find.scale=0.1)" in out


def test_a_search_leaves_its_record_and_no_result_of_a_training(searched):
    folder, _ = searched
    curve = pq.read_table(folder / "lr_find.parquet").to_pydict()
    assert curve["step"] == list(range(len(curve["step"])))
    assert curve["lr"][0] == pytest.approx(1e-7)
    assert Image.open(folder / "plots" / "lr_find.png").width > 600
    assert not (folder / "result.json").exists()
    assert not (folder / "checkpoints").exists()
    assert "searching a learning rate for the phase all" in (folder / "expkit.log").read_text()


def test_mlflow_holds_curve_and_suggestions_of_a_search(searched):
    from mlflow import MlflowClient

    folder, _ = searched
    found = json.loads((folder / "lr_find.json").read_text())
    client = MlflowClient(f"sqlite:///{folder.parents[1]}/mlflow.db")
    run = client.get_run(json.loads((folder / "tracking.json").read_text())["run_id"])
    assert run.info.status == "FINISHED"
    for name in ("loss", "smoothed", "lr"):
        points = client.get_metric_history(run.info.run_id, f"lr_find/{name}")
        assert [point.step for point in points] == list(range(found["steps"]))
    for way, lr in found["suggestions"].items():
        assert run.data.metrics[f"lr_find/{way}"] == lr
    assert run.data.metrics["lr_find/chosen"] == found["lr"]
    (images,) = [one.dataset for one in run.inputs.dataset_inputs if one.dataset.name.endswith(" train")]
    assert images.digest == run.data.tags["fingerprint"]
    assert {"plots", "lr_find.json", "lr_find.parquet"} <= {
        file.path for file in client.list_artifacts(run.info.run_id)
    }


def test_a_stopped_search_leaves_no_suggestion(tmp_path):
    endless = ("lr_find.num_it=1000000", "lr_find.end_lr=2e-7", "tracking=none")
    process = start("task=lr_find", *TINY, *endless, cwd=tmp_path)
    wait_until(lambda: any("searching" in log.read_text() for log in tmp_path.glob("outputs/*/*/expkit.log")), process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 143
    assert "stopped while searching a learning rate; again with  python -m expkit resume=outputs/digits/" in err
    assert not (only_run(tmp_path) / "lr_find.json").exists()


def folder_of(path: Path) -> RunFolder:
    path.mkdir()
    return RunFolder.create(path, "digits", composed(*TINY), [])


def test_a_phase_that_is_not_there_is_named_with_the_nearest(config_of, tmp_path):
    config = config_of(*TINY, "tracking=none", "transfer=fine_tune")
    with pytest.raises(UserError, match=r"task\.phase=al is no phase of this transfer; did you mean 'all'\?"):
        lr_find(config, folder_of(tmp_path / "run"), phase="al")


def test_a_run_asks_for_the_rate_that_a_search_finds(config_of, tmp_path, capsys):
    settings = (
        *TINY,
        "tracking=none",
        "epochs=1",
        "batch_size=256",
        "lr_find.num_it=30",
        "optim.lr=auto",
        "sched=flat_cos",
    )
    config = config_of(*settings)
    lr = lr_find(config, folder_of(tmp_path / "search"))
    assert f"learning rate of the head: optim.lr={lr:.3g}, from " in capsys.readouterr().out
    folder = folder_of(tmp_path / "run")
    train(config, folder)
    assert json.loads((folder.path / "lr_find.json").read_text())["lr"] == lr
    assert pq.read_table(folder.traces)["lr_2"].to_pylist()[0] == lr
    assert (folder.plots / "lr_find.png").exists()
    given = folder_of(tmp_path / "given")
    train(config_of(*settings, f"optim.lr={lr!r}"), given)
    assert folder.exported_weights.read_bytes() == given.exported_weights.read_bytes()
