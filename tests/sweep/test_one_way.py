"""However a config is trained, it comes to the same."""

import json
from pathlib import Path

import pyarrow.parquet as pq
from safetensors.torch import load_file

from expkit.whole_files import read_json
from tests import forked
from tests.sweep.conftest import TINY, expkit
from tests.trainer.test_loop import equal

RUN = (*TINY, "objective={metric: valid_loss, mode: min, at: best}")


def left_in(folder: Path) -> dict[str, object]:
    """What a run came to, but for times."""
    points = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        "metrics": [(point["name"], point["step"], point["value"]) for point in points],
        "result": {key: value for key, value in read_json(folder / "result.json").items() if "second" not in key},
        "traces": pq.read_table(folder / "traces.parquet"),
        "predictions": pq.read_table(folder / "predictions.parquet"),
    }


def test_a_run_a_job_of_a_grid_and_a_trial_of_one_config_leave_the_same(directory):
    status, _, err = forked.expkit(*RUN, "optim.lr=0.01", "hydra.run.dir=single", cwd=directory)
    assert status == 0, err
    for folder, more in (("grid", ()), ("study", ("hydra/sweeper=expkit", "hydra.sweeper.n_trials=1"))):
        status, out, err = expkit(*RUN[-1:], "optim.lr=choice(0.01)", *more, f"hydra.sweep.dir={folder}", cwd=directory)
        assert status == 0, out + err
    runs = [directory / name for name in ("single", "grid/0", "study/0")]
    assert left_in(runs[0]) == left_in(runs[1]) == left_in(runs[2])
    weights = [list(load_file(run / "checkpoints" / "model.safetensors").values()) for run in runs]
    assert equal(weights[0], weights[1])
    assert equal(weights[0], weights[2])
    assert [(run / "plots" / "losses.png").exists() for run in runs] == [True, True, False]
