from omegaconf import OmegaConf

from expkit.command_line.of_run import at


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
