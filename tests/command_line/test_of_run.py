import pytest
from omegaconf import OmegaConf

from expkit.command_line.of_run import at, config_for
from expkit.errors import UserError
from expkit.run_folder import RunFolder
from tests.conftest import composed


def test_a_key_of_another_version_is_told_with_the_file_that_has_it(tmp_path):
    folder = RunFolder.create(tmp_path / "run", "digits", composed("+experiment=digits"), [])
    text = folder.config.read_text()
    assert "image_size: 32" in text
    folder.config.write_text(text.replace("image_size: 32", "image_size: 32\nimage_sides: 32"))
    with pytest.raises(UserError, match=r"run/config\.yaml, .*: image_sides is no key of the config"):
        config_for(folder, ["task=evaluate"])


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
