"""Code in the working directory that Hydra would import is refused, unless the user trusts it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = (sys.executable, "-m", "expkit")
SCRIPT = (sys.executable, "-P", "-c", "from expkit.__main__ import main; main()")
"""What the installed script does: the working directory is not on Python's path."""


@pytest.fixture
def project(tmp_path):
    """A project that somebody downloaded, with a plugin that leaves a mark once it is imported."""
    folder = tmp_path / "hydra_plugins"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\n")
    return tmp_path


def run(project, *command, **environment):
    told = subprocess.run(
        command, cwd=project, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    return told.returncode, told.stderr, (project / "mark").exists()


@pytest.mark.parametrize("arguments", [["--cfg", "job"], ["-m", "+experiment=digits"], ["--help"]])
def test_a_plugin_in_the_working_directory_is_refused_before_it_is_imported(project, arguments):
    status, told, imported = run(project, *MODULE, *arguments)
    assert (status, imported) == (1, False)
    assert told.startswith(f"error: {project}/hydra_plugins holds code that Hydra would run")
    assert told.count("\n") == 1


def test_a_module_in_the_place_of_the_package_is_refused_too(project):
    (project / "hydra_plugins" / "evil.py").rename(project / "hydra_plugins.py")
    (project / "hydra_plugins").rmdir()
    status, told, imported = run(project, *MODULE, "--cfg", "job")
    assert (status, imported) == (1, False)
    assert "hydra_plugins.py holds code" in told


def test_a_plugin_that_the_user_trusts_is_imported(project):
    assert run(project, *MODULE, "--cfg", "job", EXPKIT_TRUST="hydra_plugins")[::2] == (0, True)


def test_the_installed_script_does_not_look_there(project):
    assert run(project, *SCRIPT, "--cfg", "job")[::2] == (0, False)
    path = os.pathsep.join(("", str(Path(__file__).parents[2])))  # an empty entry means the working directory
    assert run(project, *SCRIPT, "--cfg", "job", PYTHONPATH=path)[::2] == (1, False)
