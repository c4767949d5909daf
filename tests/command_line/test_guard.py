"""A refused command leaves what it found: only what this process made is removed, and nothing is written over."""

from pathlib import Path

import pytest

from expkit.causes import is_refusal
from expkit.command_line import guard
from expkit.errors import DataError, Diverged, Unavailable, UserError
from expkit.run_folder import RunFolder, refuse_run
from expkit.whole_files import write_json
from tests.forked import expkit

OURS = {".hydra", "config.yaml", "run.json"}


def begin(folder: Path) -> None:
    """What Hydra and a run that is refused leave."""
    guard.BEFORE[folder.resolve()] = guard.look(folder)
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text("seed: 0\n")
    write_json(folder / "run.json", {})


def clear(folder: Path, grid: Path | None = None) -> None:
    guard.clear(folder, OURS, guard.found_by(folder.resolve(), grid))


def test_folders_that_were_made_for_a_refused_run_go(tmp_path):
    begin(tmp_path / "outputs" / "pets" / "now")
    clear(tmp_path / "outputs" / "pets" / "now")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [".", "mine/run"])
def test_folders_that_were_there_stay(tmp_path, monkeypatch, name):
    place = tmp_path / "project"
    (place / "mine" / "run").mkdir(parents=True)
    monkeypatch.chdir(place)
    before = sorted(tmp_path.rglob("*"))
    begin(Path(name))
    clear(Path(name))
    assert sorted(tmp_path.rglob("*")) == before


def test_files_of_the_user_stay_and_ours_beside_them_go(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    begin(tmp_path / "mine")
    clear(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_run_that_left_something_stays(tmp_path):
    begin(tmp_path / "run")
    (tmp_path / "run" / "plots").mkdir()
    clear(tmp_path / "run")
    assert (tmp_path / "run" / ".hydra").is_dir()


def test_a_folder_that_nobody_looked_at_before_is_left_alone(tmp_path):
    (tmp_path / ".hydra").mkdir()
    clear(tmp_path)
    assert (tmp_path / ".hydra").is_dir()


def test_the_folder_of_a_grids_job_goes_unless_it_was_there(tmp_path):
    write_json(tmp_path / "run.json", {"kind": "grid", "found": ["0"]})
    for name in ("0", "1"):
        (tmp_path / name / ".hydra").mkdir(parents=True)
        clear(tmp_path / name, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["0"]
    assert not list((tmp_path / "0").iterdir())


def test_a_run_is_refused_early_until_its_data_and_model_are_there(tmp_path):
    run = RunFolder.create(tmp_path / "run", "test", {}, [])
    early = [UserError("no model takes this"), DataError("no image")]
    assert [is_refusal(error) for error in early] == [True, True]
    late = [Diverged("the loss became nan"), Unavailable("no store"), KeyError("a bug"), OSError(28, "full")]
    assert not any(is_refusal(error) for error in late)
    assert not run.has_begun
    run.note(fingerprint="0123")
    assert run.has_begun


@pytest.mark.parametrize("name", ["config.yaml", "result.json", "metrics.jsonl", "run.json", "end.json", "checkpoints"])
def test_what_a_run_would_write_over_is_named(tmp_path, name):
    (tmp_path / name).write_text("[1]")
    with pytest.raises(UserError, match=f"holds {name}, which would be written over: choose another hydra.run.dir"):
        refuse_run(tmp_path)
    with pytest.raises(UserError, match=f"holds {name}, "):
        RunFolder.create(tmp_path, "test", {}, [])


def test_a_refused_command_leaves_an_empty_directory_as_it_is(tmp_path):
    """The whole way, through Hydra."""
    (tmp_path / "project" / "mine" / "run").mkdir(parents=True)
    for folder in (".", "mine/run", "new/run"):
        arguments = ("+experiment=digits", "epochs=0", f"hydra.run.dir={folder}")
        status, _, err = expkit(*arguments, cwd=tmp_path / "project")
        assert status == 1
        assert "error: epochs must be" in err
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["project", "mine", "run"]
