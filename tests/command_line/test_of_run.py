import pytest
from omegaconf import OmegaConf

from expkit.command_line.of_run import config_for, store_in, unquoted
from expkit.errors import UserError
from expkit.run_folder import RunFolder
from expkit.task.earlier_run import at
from tests.conftest import composed


@pytest.fixture
def folder(tmp_path):
    """A run that has not begun."""
    return RunFolder.create(tmp_path / "run", "digits", composed("+experiment=digits", "trainer.device=cpu"), [])


def test_a_key_of_another_version_is_told_with_the_file_that_has_it_where_the_task_uses_it(folder):
    text = folder.config.read_text()
    for key, more in (("image_size: 32", "image_sides: 32"), ("optim:", "  eps_2: 0.1"), ("trainer:", "  turbo: true")):
        assert key in text
        text = text.replace(key, f"{key}\n{more}")
    folder.config.write_text(text)
    with pytest.raises(UserError, match=r"run/config\.yaml, .*: image_sides is no key of the config"):
        config_for(folder, ["task=audit"])
    for task in ("task=predict", "task=evaluate", "task=export", "task=report"):
        needs = {"task=predict": ["task.source=x"], "task=export": ["task.out=x"]}.get(task, [])
        assert config_for(folder, [task, *needs]).seed == 0
    assert config_for(folder, ["task=evaluate"]).trainer["device"] == "cpu"
    folder.config.write_text(text.replace("data:", "data:\n  sides: 4"))
    with pytest.raises(UserError, match=r"run/config\.yaml, .*: data\.sides is no key of data"):
        config_for(folder, ["task=evaluate"])
    config_for(folder, ["task=predict", "task.source=x"])


@pytest.mark.parametrize(
    "overrides",
    [
        ["task=export", "task.out=x", "trainer.device=cuda"],
        ["task=export", "task.out=x", "batch_size=8"],
        ["task=predict", "task.source=x", "data.root=photos"],
        ["task=predict", "task.source=x", "trainer.label_smoothing=0.1"],
        ["task=evaluate", "trainer.clip_norm=1"],
    ],
)
def test_what_a_task_has_no_use_for_is_refused(folder, overrides):
    with pytest.raises(
        UserError, match=f"^{overrides[-1]}: with run=run {overrides[0]} has no use for it; what may be"
    ):
        config_for(folder, overrides)


def test_the_store_beside_a_run_is_read_as_any_value(monkeypatch):
    monkeypatch.setenv("STORE", "sqlite:///a b.db")
    for given in ('tracking.uri="sqlite:///a b.db"', "tracking.uri=${oc.env:STORE}"):
        assert store_in(["task=evaluate", given]) == "sqlite:///a b.db"
    assert store_in(["task=evaluate", "batch_size=3"]) is None
    with pytest.raises(UserError, match="NOWHERE, which is not set"):
        store_in(["tracking.uri=${oc.env:NOWHERE}"])


def test_a_run_may_stand_between_quotes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert unquoted('"my runs/a=1"') == "my runs/a=1"
    assert unquoted("runs/lr=0.1,b") == "runs/lr=0.1,b"
    (tmp_path / "'a'").mkdir()
    assert unquoted("'a'") == "'a'"


def test_relative_paths_lead_from_a_project_in_lists_and_mappings_too(tmp_path):
    for name in ("photos", "more"):
        (tmp_path / name).mkdir()
    node = {"root": ["photos", "more", "elsewhere"], "parts": {"a": [{"file": "photos"}]}, "classes": None, "n": 3}
    assert at(tmp_path, OmegaConf.create(node)) == {
        "root": [f"{tmp_path}/photos", f"{tmp_path}/more", "elsewhere"],
        "parts": {"a": [{"file": f"{tmp_path}/photos"}]},
        "classes": None,
        "n": 3,
    }
