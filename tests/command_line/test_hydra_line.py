"""Which commands are of several runs."""

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from expkit.command_line.hydra_line import run_hydra
from expkit.config.schema import ROOT

OWN = "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params: {optim.lr: '0.1,0.2,0.3'}\n"
QUIET = ("tracking=none", "hydra/hydra_logging=none")


@pytest.mark.parametrize(
    ("arguments", "jobs"),
    [
        (["+experiment=digits"], 1),
        (["+experiment=digits", "+sweeps=optimizers"], 3),
        (["-m", "+experiment=digits", "optim=sgd,adam"], 2),
        (["+experiment=digits", "optim=sgd,adam", "hydra.mode=MULTIRUN"], 2),
        (["+experiment=digits", "--config-dir", "own", "+extra=several"], 3),
    ],
)
def test_a_flag_a_key_or_a_config_says_that_there_are_several_runs(tmp_path, monkeypatch, arguments, jobs):
    monkeypatch.chdir(tmp_path)
    Path("own/extra").mkdir(parents=True)
    Path("own/extra/several.yaml").write_text(OWN)
    seen: list[DictConfig] = []
    run_hydra(seen.append, [*arguments, *QUIET])
    assert len(seen) == jobs


def test_of_our_own_configs_those_of_sweeps_alone_say_so():
    assert all("mode" in OmegaConf.load(path).hydra for path in (ROOT / "sweeps").glob("*.yaml"))
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert OmegaConf.select(OmegaConf.load(path), "hydra.mode") is None, path
