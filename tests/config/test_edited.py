"""A resume with another config than the run began with is refused with the difference, and allowed by name."""

import shlex

import pytest
from omegaconf import OmegaConf

from expkit.__main__ import allowance, resume
from expkit.config.edited import heed_edits
from expkit.errors import UserError
from expkit.run_folder import RunFolder
from expkit.whole_files import read_json, write_json

CONFIG = {"seed": 0, "batch_size": 64, "num_workers": "auto", "optim": {"lr": 1e-10, "wd": None}, "classes": {0: "a"}}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    return RunFolder.create(tmp_path / "my run", "test", CONFIG, [])


def edit(folder: RunFolder, key: str, value: object) -> None:
    config = OmegaConf.load(folder.config)
    OmegaConf.update(config, key, value, force_add=True)
    OmegaConf.save(config, folder.config)


def test_a_config_that_was_left_alone_is_gone_on_with(folder):
    before = folder.facts.read_text()
    OmegaConf.save(OmegaConf.load(folder.config), folder.config)
    assert heed_edits(folder, []) == []
    assert folder.facts.read_text() == before


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("batch_size", 32, "batch_size was 64, is now 32"),
        ("seed", 1, "seed was 0, is now 1"),
        ("optim.lr", 0.1, "optim.lr was 1e-10, is now 0.1"),
        ("optim.wd", 0.0, "optim.wd was null, is now 0.0"),
        ("batch_size", "64", 'batch_size was 64, is now "64"'),
        ("seed", False, "seed was 0, is now false"),
        ("optim.mom", 0.9, "optim.mom was absent, is now 0.9"),
    ],
)
def test_each_edit_is_named_and_allowed_by_the_command_that_is_shown(folder, key, value, told):
    edit(folder, key, value)
    with pytest.raises(UserError) as refused:
        resume(str(folder.path), [])
    assert f"\n  {told}\n" in str(refused.value)
    *_, run, allow = shlex.split(str(refused.value).splitlines()[-1])
    assert run == "resume=my run"
    assert heed_edits(folder, allowance([allow])[0]) == [told]
    assert read_json(folder.facts)["edited"] == [told]
    assert heed_edits(folder, []) == []  # allowed once, it is the run's


def test_what_is_not_allowed_is_refused_beside_what_is(folder):
    edit(folder, "batch_size", 32)
    edit(folder, "optim.lr", 1)
    with pytest.raises(UserError, match=r"optim.lr was .*(\n.*)+resume.allow=\[batch_size,optim.lr\]"):
        heed_edits(folder, ["batch_size"])
    assert len(heed_edits(folder, ["optim", "batch_size"])) == 2


def test_a_change_that_comes_too_late_is_refused(folder):
    edit(folder, "batch_size", 32)
    folder.result.write_text("{}")
    with pytest.raises(UserError, match=r"my run has ended, so nothing .*\n  batch_size was 64, is now 32\nTake"):
        heed_edits(folder, ["batch_size"])


def test_a_change_is_allowed_by_the_name_of_a_key(folder):
    with pytest.raises(UserError, match=r"resume\.allow: batchsize is no key of .*did you mean 'batch_size'"):
        heed_edits(folder, ["optim", "batchsize"])


def test_what_has_no_part_in_the_result_may_change(folder):
    edit(folder, "num_workers", 4)
    edit(folder, "tracking.uri", "sqlite:///elsewhere.db")
    assert heed_edits(folder, []) == []


def test_a_run_of_a_version_that_kept_no_copy_is_gone_on_with(folder):
    facts = read_json(folder.facts)
    del facts["config"]
    write_json(folder.facts, facts)
    edit(folder, "batch_size", 32)
    assert heed_edits(folder, []) == []


@pytest.mark.parametrize("text", ["resume.allow=[a,b.c]", "+resume.allow=[a, b.c]", "resume.allow=a,b.c"])
def test_what_is_allowed_is_read_as_a_list(text):
    assert allowance([text]) == (["a", "b.c"], [])


def test_other_arguments_are_refused_beside_a_resume(folder):
    with pytest.raises(UserError, match="leave 'epochs=3' out"):
        resume(str(folder.path), ["resume.allow=[seed]", "epochs=3"])


def test_a_config_that_is_no_yaml_any_more_is_named(folder):
    folder.config.write_text("batch_size: [64\n")
    with pytest.raises(UserError, match=r"config\.yaml"):
        resume(str(folder.path), [])
