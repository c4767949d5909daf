"""A grid that was stopped is gone on with by the same command, as a sweep is."""

import signal
from pathlib import Path

import pytest

from expkit.errors import UserError
from expkit.grid.again import hold, is_held, job_again
from expkit.run_folder import RunFolder
from expkit.whole_files import read_json, write_json
from tests.conftest import PLAIN, SMALL_MODEL
from tests.forked import expkit, start, wait_until

TINY = ("+experiment=digits", "data.classes=[0,1]", "image_size=16", "epochs=8", *SMALL_MODEL, *PLAIN)


def times(grid: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in grid.glob("*/result.json")}


def test_the_same_command_goes_on_with_a_stopped_grid(tmp_path):
    command = ("-m", *TINY, "optim.lr=1e-3,1e30,1e-2", "trainer.precision=fp32")
    process = start(*command, cwd=tmp_path)
    wait_until(lambda: any(path.stat().st_size for path in tmp_path.glob("outputs/*/*/2/metrics.jsonl")), process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 143
    assert "run the same command again to go on with the grid" in err
    (grid,) = tmp_path.glob("outputs/digits/sweep_*")
    before = times(grid)
    assert list(before) == ["0"]
    status, out, err = expkit(*command, cwd=tmp_path)
    assert status == 1  # the job that diverged
    assert "1 of 3 jobs failed: 1" in err
    assert f"going on with the grid {grid.relative_to(tmp_path)}: 1 of its jobs have finished" in out
    assert list(tmp_path.glob("outputs/digits/sweep_*")) == [grid]
    after = times(grid)
    assert sorted(after) == ["0", "2"]
    assert after["0"] == before["0"]
    assert "going on at step" in (grid / "2" / "expkit.log").read_text()
    assert "ended" in read_json(grid / "run.json")
    status, _, err = expkit(*command[:-2], "optim.lr=1", f"hydra.sweep.dir={grid}", cwd=tmp_path)
    assert status == 1
    assert f"{grid} holds a grid of other jobs (" in err


def test_a_job_that_began_otherwise_is_refused_with_the_difference(config_of, tmp_path):
    began = config_of("batch_size=32")
    folder = RunFolder.create(tmp_path, "test", vars(began), ["batch_size=32"])
    assert job_again(folder, began, ["batch_size=32"]) == folder
    assert job_again(folder, config_of("batch_size=32", "num_workers=2"), ["batch_size=32"]) == folder
    with pytest.raises(UserError, match="began otherwise:\n  batch_size was 32, is now 16"):
        job_again(folder, config_of("batch_size=16"), ["batch_size=32"])
    with pytest.raises(UserError, match=r"began otherwise \(batch_size=32\); choose another hydra.sweep.dir"):
        job_again(folder, began, ["seed=0"])


def test_a_grid_is_run_by_one_process_at_a_time(tmp_path):
    write_json(tmp_path / "run.json", {"kind": "grid"})
    assert not is_held(tmp_path)
    hold(tmp_path)
    assert is_held(tmp_path)
