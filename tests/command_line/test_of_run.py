"""Tasks on an earlier run: its config, with what the command line gives anew."""

from omegaconf import OmegaConf

from expkit.command_line.of_run import at, config_for
from expkit.run_folder import RunFolder
from tests.conftest import composed


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


def test_a_key_of_the_data_can_be_taken_away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["+experiment=digits", "data.valid_pct=0.3"]
    folder = RunFolder.create(tmp_path / "run", "digits", composed(*given), given)
    assert config_for(folder, ["task=evaluate"]).data["valid_pct"] == 0.3
    assert "valid_pct" not in config_for(folder, ["task=evaluate", "~data.valid_pct"]).data
