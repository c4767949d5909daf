"""best:FOLDER: which run of a study or a grid it means, by the files of the runs alone."""

import pytest

from expkit.errors import UserError
from expkit.run_folder import RunFolder
from expkit.tracking.finding import find_run
from expkit.whole_files import write_json
from tests.tracking.runs import new_run, new_study


def finished(path, value, *, metric="valid_accuracy", mode="max", weights=True, **facts):
    config = {"objective": {"metric": metric, "mode": mode, "at": "best"}}
    run = RunFolder.create(path, "test", config, [], **facts)
    if value != "unfinished":
        write_json(run.result, {"objective": {"name": metric, "value": value}})
    if weights:
        run.exported_weights.parent.mkdir(exist_ok=True)
        run.exported_weights.write_text("x")
    return run


def study(path, values, *, repeats=1, **keys):
    folder = new_study(path, "test")
    folder.note(params={"repeats": repeats})
    for number, value in enumerate(values):
        finished(path / str(number), value, params={"trial": number}, parent="..", **keys)
    return folder


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        ("max", [0.5, 0.75, 0.75, None, "unfinished"], "1"),
        ("min", [0.5, 0.25, 0.75], "1"),
        ("max", [0.5, 0.6, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6, 0.59, 0.61], "10"),
    ],
)
def test_it_is_the_best_that_finished_and_the_earliest_of_equals(tmp_path, mode, values, best, capsys):
    folder = study(tmp_path / "sweep", values, mode=mode)
    assert find_run(f"best:{folder.path}").path == folder.path / best
    assert f"best:{folder.path}: {folder.path / best} (valid_accuracy" in capsys.readouterr().err


def test_of_trials_with_several_seeds_the_mean_counts_and_all_must_have_finished(tmp_path):
    folder = new_study(tmp_path / "sweep", "test")
    folder.note(params={"repeats": 2})
    for number, values in enumerate([(0.5, 0.7), (0.9, 0.1), (0.95,)]):
        for seed, value in enumerate(values):
            path = folder.path / str(number) / f"seed_{seed}"
            finished(path, value, weights=seed == 0, params={"trial": number}, parent="../..")
    assert find_run(f"best:{folder.path}").path == folder.path / "0" / "seed_0"


def test_what_has_no_best_run_is_refused_with_what_to_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    empty, elsewhere = study(tmp_path / "new", ["unfinished", None]), study(tmp_path / "shared", [0.5])
    elsewhere.note(tags={"best_trial": "3", "best_value": "0.75"})
    new_run(tmp_path / "run", "test")
    study(tmp_path / "outputs" / "sweep_a", [0.5])
    mixed = study(tmp_path / "mixed", [0.5])
    finished(mixed.path / "1", 0.5, metric="valid_f1", params={"job": 1}, parent="..")
    for name, words in {
        "best:new": "no trial of it has finished with a number yet",
        "best:shared": r"its best trial is 3 \(valid_accuracy 0.7500\), which ran on another machine",
        "best:run": "is a run itself: leave best: out",
        "best:outputs": "is the folder of no study and no grid: give that of one, such as best:outputs/sweep_a",
        "best:nowhere": "leads nowhere: give the folder of a study or a grid",
        "best:mixed": r"objectives that do not compare \(valid_accuracy, valid_f1\)",
        "a" * 300: "is neither a run folder nor the id of a run",
        f"best:{'a' * 300}": r"cannot be read \(File name too long\)",
        "new": "new is a study, not a run: write best:new for its best run",
    }.items():
        with pytest.raises(UserError, match=words):
            find_run(name)
    assert empty.path.exists()
