import subprocess
import sys

import pytest

from expkit.errors import UserError
from expkit.whole_files import read_json, write_json, write_whole


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"value": 1})

    def half(partial):
        partial.write_text("{")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"result\.json could not be written .*No space left on device"):
        write_whole(path, half)
    assert read_json(path) == {"value": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_processes_that_write_one_file_at_once_take_turns(tmp_path):
    code = f"""
from pathlib import Path
from expkit.whole_files import read_json, write_json
for number in range(50):
    write_json(Path({str(tmp_path / "run.json")!r}), {{"numbers": [number] * 500}})
"""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert read_json(tmp_path / "run.json") == {"numbers": [49] * 500}
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_numbers_that_json_has_no_word_for_are_written_as_null(tmp_path):
    write_json(tmp_path / "numbers.json", {"metrics": [{"valid_loss": float("nan")}, float("-inf")], "epochs": 2})
    assert read_json(tmp_path / "numbers.json") == {"metrics": [{"valid_loss": None}, None], "epochs": 2}


def test_a_link_in_the_place_of_a_half_written_file_is_not_written_through(tmp_path):
    (tmp_path / "target").write_text("mine")
    (tmp_path / ".result.json.partial").symlink_to(tmp_path / "target")
    write_json(tmp_path / "result.json", {"value": 1})
    assert (tmp_path / "target").read_text() == "mine"
    assert read_json(tmp_path / "result.json") == {"value": 1}
