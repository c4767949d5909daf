"""Hydra's own grid, as a person runs it."""

import csv
import json
import math
from pathlib import Path

import pytest
from mlflow import MlflowClient

from expkit.grid.tracked import summarize
from expkit.run_folder import RunFolder
from expkit.tracking import make_parent, path_to_parent
from expkit.tracking.nested import write_end
from expkit.whole_files import read_json, write_json
from tests.conftest import SMALL_MODEL
from tests.forked import expkit, start
from tests.tracking.runs import new_run, runs_of, wait_until

TINY = ("+experiment=digits", "image_size=16", *SMALL_MODEL, "epochs=1")


def only_grid(cwd: Path) -> Path:
    (folder,) = cwd.glob("outputs/digits/sweep_*")
    return folder


def test_the_jobs_of_a_grid_are_nested_in_its_run(tmp_path):
    status, out, err = expkit("-m", *TINY, "optim=adam,sgd", "tracking.register=digits", cwd=tmp_path)
    assert status == 0, err
    client = MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    runs = runs_of(client, "digits")
    grid = runs.pop(only_grid(tmp_path).name)
    assert {name: run.info.status for name, run in runs.items()} == {"0": "FINISHED", "1": "FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {grid.info.run_id}
    assert [runs[name].info.run_name for name in "01"] == ["adam", "sgd"]
    assert [runs[name].data.params["job"] for name in "01"] == ["0", "1"]
    grid_name = only_grid(tmp_path).name
    results = [read_json(only_grid(tmp_path) / name / "result.json") for name in "01"]
    assert [result["run_id"] for result in results] == [runs[name].info.run_id for name in "01"]
    assert grid.info.status == "FINISHED"
    assert grid.info.run_name == "image_size=16 timm name=test_resnet epochs=1 adam,sgd"
    assert grid.data.metrics["best_valid_accuracy"] == max(result["objective"]["value"] for result in results)
    assert "| adam" in grid.data.tags["mlflow.note.content"]
    assert grid.data.tags["mlflow.note.content"].startswith("```sh\npython -m expkit -m +experiment=digits")
    for run in (grid, *runs.values()):
        assert {one.dataset.name for one in run.inputs.dataset_inputs} == {"digits train", "digits valid"}
    assert [entry.path for entry in client.list_artifacts(grid.info.run_id)] == [
        "jobs.csv",
        "metrics.jsonl",
        "multirun.yaml",
        "run.json",
    ]
    assert client.list_artifacts(runs["0"].info.run_id, "checkpoints")
    best = max("01", key=lambda name: results[int(name)]["objective"]["value"])
    (version,) = client.search_model_versions()
    assert (version.name, version.run_id) == ("digits", runs[best].info.run_id)
    assert f"in job {best}, the best of {grid_name}\n" in out
    assert out.count("task=predict") == out.count(f"run=best:outputs/digits/{grid_name} task=predict") == 1
    assert "  model    registered as models:/digits/1\n" in out


def test_a_grid_that_is_killed_is_closed_so(tmp_path):
    process = start("-m", *TINY, "seed=range(30)", cwd=tmp_path)
    wait_until(lambda: list(tmp_path.glob("outputs/digits/sweep_*/tracking.json")))
    process.kill()
    process.communicate()
    grid = only_grid(tmp_path)
    wait_until(lambda: read_json(grid / "tracking.json").get("status"))
    runs = runs_of(MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db"), "digits")
    assert runs[grid.name].info.status == "KILLED"
    assert {run.info.status for run in runs.values()} <= {"KILLED", "FINISHED"}


def test_the_table_of_a_grid_has_the_best_job_first_and_the_others_too(tmp_path):
    common = ["+experiment=test", "epochs=2"]
    grid = make_parent(
        tmp_path / "sweep", "test", kind="grid", name="a", tracking={}, overrides=[*common, "optim=adam,sgd", "~wd"]
    )
    for number, (optim, loss) in enumerate([("adam", 0.5), ("sgd", None), ("a|b", 0.25)]):
        job = new_run(grid.path / str(number), "test", parent="..")
        job.note(overrides=[*common, f"optim={optim}", "~wd"])
        if loss is not None:
            write_result(job, loss)
    tags = summarize(grid, "min")
    with open(grid.path / "jobs.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["job"], row["optim"], row["valid_loss"]) for row in rows] == [
        ("0", "adam", "0.5"),
        ("1", "sgd", ""),
        ("2", "a|b", "0.25"),
    ]
    lines = tags["mlflow.note.content"].splitlines()
    assert [line.split("&emsp;")[0] for line in lines[2:]] == ["| 2", "| 0", "| 1"]
    assert "a\\|b" in lines[2]
    assert '"name": "best_valid_loss", "value": 0.25' in grid.metrics.read_text()


def write_result(job: RunFolder, loss: float) -> None:
    write_json(job.result, {"objective": {"name": "valid_loss", "value": loss}, "seconds": 3.21})


def test_a_grid_of_another_task_is_not_tracked(tmp_path):
    status, _, err = expkit("-m", "task=plot_schedule", "sched=one_cycle,flat_cos", cwd=tmp_path)
    assert status == 0, err
    assert {path.name for path in (tmp_path / "outputs").iterdir()} == {"digits"}
    assert len(list(tmp_path.glob("outputs/digits/sweep_*/*/plots/schedule.png"))) == 2


@pytest.mark.parametrize(("mode", "first"), [("max", "2"), ("min", "1")])
def test_a_job_that_came_to_no_number_is_last_in_the_table_and_never_the_best(tmp_path, mode, first):
    grid = make_parent(tmp_path / "grid", "toy", kind="grid", name="g", tracking={}, overrides=["+experiment=toy"])
    for number, value in enumerate((math.nan, 0.5, 0.75)):
        path = grid.path / str(number)
        job = RunFolder.create(
            path, "toy", {}, ["+experiment=toy", f"optim.lr={number}"], parent=path_to_parent(grid.path, path)
        )
        write_json(job.result, {"objective": {"name": "valid_loss", "value": value}, "seconds": 1.5})
        write_end(path, "FINISHED", {})
    (table,) = summarize(grid, mode).values()
    lines = [line.replace("&emsp;", "").split("|")[1:-1] for line in table.splitlines()]
    header, _, *rows = ([cell.strip() for cell in line] for line in lines)
    assert header == ["job", "optim.lr", "status", "valid_loss", "seconds"]
    assert rows[0][0] == first
    assert rows[-1] == ["0", "0", "FINISHED", "", "1.5"]
    written = (grid.path / "jobs.csv").read_text().splitlines()
    assert written[1:] == ["0,0,FINISHED,,1.5", "1,1,FINISHED,0.5,1.5", "2,2,FINISHED,0.75,1.5"]
    best = json.loads(grid.metrics.read_text())
    assert (best["name"], best["value"]) == ("best_valid_loss", {"max": 0.75, "min": 0.5}[mode])


def test_a_grid_of_jobs_without_any_number_has_a_table_and_no_best(tmp_path):
    grid = make_parent(tmp_path / "grid", "toy", kind="grid", name="g", tracking={})
    job = RunFolder.create(grid.path / "0", "toy", {}, [], parent="..")
    write_json(job.result, {"objective": {"name": "valid_loss", "value": math.nan}, "seconds": 1.5})
    (table,) = summarize(grid, "min").values()
    assert "valid_loss" in table
    assert not grid.metrics.exists()
