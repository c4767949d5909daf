import pytest
from omegaconf import OmegaConf

from expkit.command_line.hydra_line import run_hydra
from expkit.errors import UserError
from expkit.run_folder import RunFolder, hide_in_files
from expkit.secrets import as_written, resolved

CONFIG = OmegaConf.create(
    {
        "seed": 3,
        "epochs": "${seed}",
        "data": {"root": "${oc.env:DATA}/pets", "token": "${oc.env:HUB_TOKEN}", "same": ["${tracking.uri}", 1]},
        "tracking": {
            "uri": "postgresql://me:${oc.env:DATABASE}@host/runs",
            "timeout": "${oc.decode:${oc.env:SECONDS}}",
        },
    }
)


def test_a_file_has_the_reference_of_a_secret_and_the_value_of_all_else(monkeypatch):
    for name, value in {"DATA": "/data", "HUB_TOKEN": "hf_1", "DATABASE": "hunter2", "SECONDS": "99"}.items():
        monkeypatch.setenv(name, value)
    values = resolved(CONFIG)
    assert values["tracking"]["uri"] == "postgresql://me:hunter2@host/runs"
    kept = as_written({**values, "seed": 4}, CONFIG)
    assert kept["data"] == {"root": "/data/pets", "token": "${oc.env:HUB_TOKEN}", "same": ["${tracking.uri}", 1]}
    assert kept["tracking"]["uri"] == "postgresql://me:${oc.env:DATABASE}@host/runs"
    assert (kept["seed"], kept["epochs"]) == (4, 3)
    assert resolved(OmegaConf.create(kept)) == {**values, "seed": 4}


def test_a_variable_that_is_not_set_is_named_with_its_key(monkeypatch):
    monkeypatch.delenv("DATABASE", raising=False)
    with pytest.raises(UserError, match=r"^tracking.uri refers to the environment variable DATABASE, which is not set"):
        resolved(OmegaConf.create({"tracking": CONFIG.tracking}))


def test_a_password_that_was_typed_stands_in_config_yaml_alone_and_that_is_said(tmp_path, caplog):
    uri = "postgresql://me:hunter2@host/runs"
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text(f"- tracking.uri={uri}\n")
    folder = RunFolder.create(tmp_path, "test", {"tracking": {"uri": uri}}, [f"tracking.uri={uri}"])
    having = [path.name for path in tmp_path.rglob("*") if path.is_file() and "hunter2" in path.read_text()]
    assert having == [folder.config.name]
    assert "keeps a password of the config as it is: write it as ${oc.env:NAME}" in caplog.text
    assert "hunter2" not in caplog.text


def test_what_has_no_password_is_left_as_it_is(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("uri: postgresql://me:${oc.env:PW}@host/runs\nother: http://localhost:5000/a@b\n")
    before = path.stat().st_mtime_ns, path.read_text()
    hide_in_files(tmp_path)
    assert (path.stat().st_mtime_ns, path.read_text()) == before


def test_hydra_logs_no_password_of_a_job(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    uri = 'tracking.uri="http://me:hunter2@localhost:1/x"'
    run_hydra(lambda config: None, ["-m", "+experiment=digits", uri, "seed=1", "~hydra.callbacks.track_grid"])
    logged = "".join(capsys.readouterr())
    assert "http://me:***@localhost:1/x" in logged
    assert "hunter2" not in logged
