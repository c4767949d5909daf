"""Experiments and runs that a person names."""

from expkit.command_line.one_run import has_own_name
from expkit.whole_files import write_json
from tests.forked import expkit


def test_experiments_of_ones_own_folder_are_listed_with_what_they_say_of_themselves(tmp_path):
    (tmp_path / "my own" / "experiment").mkdir(parents=True)
    header = "# @package _global_\n# python -m expkit +experiment=cats\n# Cats of the house\n"
    (tmp_path / "my own" / "experiment" / "cats.yaml").write_text(header)
    status, out, _ = expkit("--config-dir", "my own", cwd=tmp_path)
    assert status == 0
    assert "python -m expkit --config-dir 'my own' +experiment=NAME\n\n  cats             Cats of the house\n" in out
    assert "\n  digits " in out
    assert expkit("--config-dir=none", cwd=tmp_path)[2] == f"error: --config-dir none: {tmp_path}/none is no folder\n"


def test_the_name_of_a_grid_is_not_that_of_its_jobs(tmp_path):
    write_json(tmp_path / "run.json", {"overrides": ["name=tiny", "optim=sgd,adam"]})
    assert has_own_name(["name=tiny", "optim=sgd"], None)
    assert not has_own_name(["name=tiny", "optim=sgd"], tmp_path)
    assert has_own_name(["name=other", "optim=sgd"], tmp_path)


def test_a_study_is_named_by_its_own_key(tmp_path):
    status, _, err = expkit("-m", "+experiment=digits", "+sweeps=lr_wd_pct_start", "name=mine", cwd=tmp_path)
    assert (status, err) == (1, "error: name is of a run; a study is called by hydra.sweeper.study_name=mine\n")
