"""A config is data: what it could have Hydra, Python's logging or expkit run is refused, and no canary sings."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from expkit import trust
from expkit.command_line.hydra_line import compose, run_hydra
from expkit.config.composed import plain
from expkit.errors import UserError
from expkit.own_functions import made
from expkit.sched import custom
from tests.conftest import ROOT, composed

CANARY = """
import pathlib
pathlib.Path({path!r}).write_text("sung")
class Anything:
    def __init__(self, *args, **keys): pass
"""


@pytest.fixture(autouse=True)
def nobody_is_trusted(monkeypatch) -> None:
    monkeypatch.delenv("EXPKIT_TRUST", raising=False)
    monkeypatch.setattr(trust, "USERS", None)


@pytest.fixture
def canary(tmp_path, monkeypatch) -> Path:
    """A file that the module `canary` writes where anything imports it; nothing may."""
    sung = tmp_path / "sung"
    (tmp_path / "canary.py").write_text(CANARY.format(path=str(sung)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield sung
    assert not sung.exists()


def experiment(text: str) -> str:
    """The folder of an experiment called mine."""
    folder = Path("configs", "experiment")
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(f"# @package _global_\n{text}")
    return "configs"


ATTACKS = {
    "variables": "hydra: {job: {env_set: {EXPKIT_TRUST: canary}}}\nlr_find: {suggest: canary.Anything}",
    "paths of modules": "hydra: {job: {env_set: {PYTHONPATH: /tmp}}}",
    "callback": "hydra: {callbacks: {mine: {_target_: canary.Anything}}}",
    "callback in place of ours": "hydra: {callbacks: {keep_runs: {_target_: canary.Anything}}}",
    "in a callback": "hydra: {callbacks: {keep_runs: {deep: [{_target_: canary.Anything}]}}}",
    "launcher": "hydra: {launcher: {_target_: canary.Anything}}",
    "in a launcher": "hydra: {launcher: {deep: {_target_: canary.Anything}}}",
    "by interpolation": "hydra: {launcher: {deep: '${data.source}'}}\ndata: {source: {_target_: canary.Anything}}",
    "sweeper": "hydra: {sweeper: {_target_: canary.Anything}}",
    "in a sweeper": "hydra: {sweeper: {params: {seed: {_target_: canary.Anything}}}}",
    "sampler": "defaults: [override /hydra/sweeper: expkit]\nhydra: {sweeper: {sampler: {_target_: canary.Anything}}}",
    "log handler": "hydra: {job_logging: {handlers: {mine: {class: canary.Anything}}}}",
    "log factory": "hydra: {hydra_logging: {formatters: {simple: {(): canary.Anything}}}}",
    "log stream": "hydra: {job_logging: {handlers: {mine: {class: logging.StreamHandler, stream: 'ext://canary.x'}}}}",
    "log by interpolation": "hydra: {job_logging: '${data.source}'}\ndata: {source: {version: 1}}",
    "config over another's": "hydra: {output_subdir: /home/me/project/conf}",
    "config above the run": "hydra: {output_subdir: ../..}",
    "jobs over others' files": "hydra: {sweep: {subdir: ../../conf}}",
    "log file": "hydra: {job_logging: {handlers: {mine: {class: logging.FileHandler, filename: sung}}}}",
}


@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)
def test_an_experiment_has_hydra_run_nothing(canary, text):
    with pytest.raises((UserError, HydraException), match=r"hydra\."):
        compose("+experiment=mine", folders=[experiment(text)])


@pytest.mark.parametrize("arguments", [["seed=1"], ["-m", "seed=1,2"], ["--help"]], ids=["run", "grid", "help"])
def test_no_way_to_start_a_run_passes_it_by(canary, arguments):
    folder = experiment(ATTACKS["callback"])
    with pytest.raises(UserError, match=r"hydra\.callbacks\.mine"):
        run_hydra(lambda config: None, ["--config-dir", folder, "+experiment=mine", *arguments])


def test_a_config_of_its_own_name_adds_no_places_that_configs_come_from(canary):
    folder = Path(experiment("{}"))
    (folder / "main.yaml").write_text("hydra: {searchpath: ['pkg://canary']}\n")
    with pytest.raises(UserError, match=r"hydra\.searchpath: pkg://canary"):
        run_hydra(lambda config: None, ["--config-dir", str(folder), "--config-name", "main"])
    with pytest.raises(UserError, match=r"hydra\.searchpath: pkg://canary"):
        compose("hydra.searchpath=[pkg://canary]")


@pytest.mark.parametrize("driver", ["postgresql+canary.x", "mysql+canary.x", "sqlite+canary"])
def test_the_driver_of_a_store_is_not_imported_to_look_for_it(canary, driver):
    with pytest.raises(UserError, match=r"tracking\.uri=\S+ (needs the Python module canary|names the driver canary)"):
        plain(composed("+experiment=digits", f"tracking.uri={driver}://host/db"))


def test_pickles_are_not_read(canary):
    with pytest.raises(UserError, match="--experimental-rerun reads a pickle"):
        run_hydra(lambda config: None, ["--experimental-rerun", "config.pickle"])


def test_the_user_may_add_a_callback_of_a_trusted_package(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("from hydra.experimental.callback import Callback as Own\n")
    monkeypatch.setenv("EXPKIT_TRUST", "mine")
    config = compose("+hydra.callbacks.own={_target_: mine.Own}")
    assert config.hydra.callbacks.own._target_ == "mine.Own"


def test_launchers_of_hydra_stay(tmp_path):
    compose("hydra.launcher._target_=hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher")
    with pytest.raises(UserError, match=r"hydra\.launcher\.setup can run commands"):
        compose("+hydra.launcher.setup=[rm]")
    with pytest.raises(UserError, match=r"hydra\.launcher\.pre_dispatch can run commands"):
        compose("+hydra.launcher.pre_dispatch=exit")
    with pytest.raises(UserError, match=r"hydra\.launcher\.partition can run commands"):
        compose("+hydra.launcher.partition='gpu\nrm'")
    compose("+hydra.launcher.pre_dispatch=2*n_jobs", "hydra/sweeper=expkit")
    compose("hydra.sweeper.sampler={_target_: optuna.samplers.TPESampler}", "hydra/sweeper=expkit")


@pytest.mark.parametrize("subdir", [".", "..", "/tmp/x", "a/../.."])
def test_jobs_of_a_grid_lie_below_it(subdir):
    compose("hydra.sweep.subdir=a/${hydra.job.num}")
    with pytest.raises(UserError, match=r"hydra\.sweep\.subdir names a folder for each job"):
        compose(f"hydra.sweep.subdir={subdir}")


def test_trust_is_read_once_before_any_config(monkeypatch):
    monkeypatch.setattr(trust, "USERS", None)
    monkeypatch.setenv("EXPKIT_TRUST", "mine, yours")
    trust.read_environment()
    monkeypatch.setenv("EXPKIT_TRUST", "canary")
    assert trust.is_users("yours.module.f")
    assert not trust.is_users("canary.Anything")


CALLS = {
    "data": "{_target_: expkit.data.fetch.unpack, archive: a}",
    "model": "{_target_: expkit.model.options.drawn_seed}",
    "sched": "{_target_: expkit.sched.custom.resolve, dotted: canary.Anything, key: x}",
    "optim": "{_target_: torch.optim.Adam}",
    "tracking": "{_target_: expkit.tracking.senders.sender_of, uri: x}",
    "task": "{_target_: expkit.task.training.report}",
    "trainer": "{_target_: expkit.sched.one_cycle}",
    "transfer": "{_target_: expkit.transfer.phase}",
    "augment": "{_target_: torchvision.transforms.Resize}",
}


@pytest.mark.parametrize("group", CALLS)
def test_a_node_calls_no_helper_and_nothing_of_another_kind(canary, group):
    node = OmegaConf.to_container(OmegaConf.create(CALLS[group]))
    config = {**composed("+experiment=digits"), group: node}
    with pytest.raises(UserError, match=rf"^{group}\._target_: .*({group}=NAME|the choices of {group})"):
        plain(OmegaConf.create(config))


def test_a_model_of_torchvision_is_refused_before_it_is_fetched():
    with pytest.raises(UserError, match=r"model\._target_: torchvision\.models\.resnet18 .*model=NAME"):
        plain(composed("+experiment=digits", "model._target_=torchvision.models.resnet18"))


@pytest.mark.parametrize("name", ["fetch_olivetti_faces", "fetch_openml", "load_files", "load_svmlight_file", "os.x"])
def test_data_comes_from_no_loader_that_reads_or_fetches(name):
    with pytest.raises(UserError, match=r"nothing that a config may name|names nothing"):
        trust.resolve(f"sklearn.datasets.{name}", "data.source")


def named_in_conf() -> set[str]:
    """The functions that the choices in conf/ and sweeps/ name, and the LR finder's ways."""
    files = [*ROOT.glob("conf/*/*.yaml"), *ROOT.glob("sweeps/*.yaml")]
    words = {word for file in files for word in file.read_text().replace(",", " ").replace("}", " ").split()}
    ways = {f"expkit.lr_finder.{way}" for way in ("valley", "slide", "minimum", "steep")}
    return {word for word in words if word.startswith("expkit.")} | ways


def names_in(package: Path) -> set[str]:
    """Every dotted name that leads to something in the files of expkit, what they import included."""
    names = set()
    for file in package.rglob("*.py"):
        module = ".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(f"{module}.{node.name}")
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names |= {f"{module}.{alias.asname or alias.name}" for alias in node.names}
    return names


def test_of_all_names_in_expkit_a_config_may_name_those_of_its_choices_alone():
    def is_named(dotted: str) -> bool:
        try:
            return bool(trust.resolve(dotted, "key"))
        except UserError:
            return False

    found = {dotted for dotted in names_in(ROOT / "expkit") if is_named(dotted)}
    assert found == {name for name in named_in_conf() if name.count(".") < 4 and is_named(name)}
    assert len(found) > 30


BEHIND = r"""
import importlib, inspect, json, pkgutil, sys
from expkit import trust
from expkit.errors import UserError

def names(module, prefix, depth, seen):
    for name in dir(module):
        found = getattr(module, name, None)
        yield f"{prefix}.{name}", found
        if inspect.ismodule(found) and depth and id(found) not in seen:
            seen.add(id(found))
            yield from names(found, f"{prefix}.{name}", depth - 1, seen)

allowed = {}
for home in trust.FOREIGN:
    for dotted, found in names(importlib.import_module(home), home, 2, set()):
        if callable(found):
            try:
                found = trust.resolve(dotted, "key")
            except UserError:
                continue
            allowed[dotted] = [found.__module__, inspect.isclass(found)]
json.dump(allowed, sys.stdout)
"""


def test_of_all_names_in_libraries_a_config_may_name_builders_alone():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", BEHIND], check=True, capture_output=True, cwd=ROOT)
    allowed = json.loads(done.stdout)
    homes = tuple(home.rpartition(".lr_")[0] or home.removesuffix(".v2") for home in trust.FOREIGN)
    for dotted, (module, is_class) in allowed.items():
        if module.startswith("sklearn"):
            assert dotted.rpartition(".")[2] in trust.SAMPLE_DATA
        else:
            assert module.startswith((*homes, "torch.ao.nn", "torch._", "torchvision.tv_tensors")), (dotted, module)
            assert is_class or module.startswith(("torchvision.models.", "torchvision.ops.")), (dotted, module)
    assert {"torch.nn.Linear", "optuna.samplers.TPESampler", "torchvision.models.resnet18"} <= allowed.keys()
    assert not os.path.exists(ROOT / "sung")


@pytest.mark.parametrize(
    ("group", "gives", "message"),
    [
        ("sched", "1", "a dict of schedules, got a int"),
        ("optim", "model", "an expkit Optimizer"),
        ("augment", "None", "expkit.augment.Transforms"),
        ("data", "[]", "an expkit.data.Data"),
        ("model", "__import__('torch').nn.Flatten()", "a torch.nn.Module with layer_groups"),
    ],
)
def test_a_function_of_the_users_gives_what_its_group_promises(tmp_path, monkeypatch, group, gives, message):
    (tmp_path / f"my_{group}.py").write_text(f"def make(model=None, *wired): return {gives}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EXPKIT_TRUST", f"my_{group}")
    with pytest.raises(UserError, match=rf"{group}\._target_: my_{group}\.make must give {message}"):
        made({"_target_": f"my_{group}.make"}, group=group)


@pytest.mark.parametrize(("body", "message"), [("return 'a'", "must give a number"), ("return 1 / 0", "raised Zero")])
def test_a_curve_of_the_users_gives_numbers(tmp_path, monkeypatch, body, message):
    (tmp_path / "my_curve.py").write_text(f"def curve(t): {body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_curve", raising=False)
    monkeypatch.setenv("EXPKIT_TRUST", "my_curve")
    with pytest.raises(UserError, match=rf"sched\.hypers\.wd: my_curve\.curve.* {message}"):
        custom([0.1], hypers={"wd": "my_curve.curve"})


@pytest.mark.parametrize("name", ["expkit.sched.one_cycle", "torch.nn.ReLU", "expkit.lr_finder.valley"])
def test_a_curve_is_no_function_of_another_kind(name):
    with pytest.raises(UserError, match=rf"sched\.hypers\.wd: {name} does not do here"):
        custom([0.1], hypers={"wd": name})
