"""Overrides and files: every key of a function can be overridden as it stands, and a mapping given is the one used."""

import re
import shlex
from pathlib import Path

import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from expkit.check import keywords
from expkit.command_line.hydra_line import compose, config_folders, open_hydra, run_hydra
from expkit.config.composed import explain, plain
from expkit.config.plan import overridden, plan
from expkit.errors import UserError
from expkit.sweep.space.composing import Composer
from expkit.transfer import phase
from expkit.trust import resolve
from tests.conftest import ROOT, composed

VALUES = {
    "trains": "2",
    "lr": "{stop: lr / 3}",
    "sched": "{_target_: expkit.sched.flat_cos}",
    "augment": "false",
    "precompute": "false",
    "views": "null",
    "train_bn": "eval",
}


def plain_of(*overrides: str):
    return plain(composed("+experiment=digits", "augment=side_on", *overrides))


@pytest.mark.parametrize("recipe", sorted(path.stem for path in ROOT.glob("conf/transfer/*.yaml")))
def test_every_key_of_every_phase_can_be_overridden_as_it_stands(recipe):
    assert {*VALUES, "epochs"} == set(keywords(phase))
    name = list(composed(f"transfer={recipe}").transfer.phases)[-1]
    given = [f"transfer.phases.{name}.{key}={value}" for key, value in VALUES.items()]
    config = plain_of(f"transfer={recipe}", "transfer.tta=0", *given)
    expected = {key: OmegaConf.to_container(OmegaConf.create(f"x: {value}"))["x"] for key, value in VALUES.items()}
    assert config.transfer["phases"][name] == {"epochs": "rest", **expected}


CHOICES = ("data=csv", "augment=top_down", "model=timm", "optim=torch", "sched=sgdr", "trainer=default", "task=cache")


@pytest.mark.parametrize("choice", CHOICES)
def test_every_key_of_a_choice_can_be_overridden_as_it_stands(choice, tmp_path):
    """Also where a file of the user's leaves all of them out."""
    group = choice.partition("=")[0]
    target = composed(choice)[group]._target_
    (tmp_path / group).mkdir()
    (tmp_path / group / "bare.yaml").write_text(f"_target_: {target}\n")
    given = dict.fromkeys(keywords(resolve(target, "")), "null")
    config = compose(
        f"{group}=bare", *(f"{group}.{key}={value}" for key, value in given.items()), folders=[str(tmp_path)]
    )
    assert set(config[group]) == {"_target_", *given}


@pytest.mark.parametrize(
    ("overrides", "key", "expected"),
    [
        (["transfer=discriminative", "transfer.phases.all.lr={stop: lr}"], "transfer.phases.all.lr", {"stop": "lr"}),
        (["transfer=discriminative", "+transfer.phases.all.lr={stop: lr}"], "transfer.phases.all.lr", {"stop": "lr"}),
        (["optim.lr={start: 1, stop: 2}", "optim.lr={stop: 3}"], "optim.lr", {"stop": 3}),
        (["optim.lr={stop: 3}", "optim.lr.start=1"], "optim.lr", {"stop": 3, "start": 1}),
        (["optim.lr=[1, 2, 3]", "optim.lr={stop: 3}"], "optim.lr", {"stop": 3}),
        (["optim.lr={stop: 3}", "optim.lr=[1, 2, 3]"], "optim.lr", [1, 2, 3]),
        (["optim.lr={stop: 3}", "optim.lr=1"], "optim.lr", 1),
        (["optim=torch", "optim.name=A", "optim.options={amsgrad: true}"], "optim.options", {"amsgrad": True}),
        (["optim=torch", "optim.name=A", "optim.options.amsgrad=true"], "optim.options", {"amsgrad": True}),
        (["transfer=fine_tune", "transfer.phases.all.sched={div: 3}"], "transfer.phases.all.sched", {"div": 3}),
        (["transfer=fine_tune", "transfer.phases={a: {trains: 2}}"], "transfer.phases", {"a": {"trains": 2}}),
        (["transfer=fine_tune", "transfer.phases.all={trains: 2}"], "transfer.phases.all", {"trains": 2}),
        (["sched=custom", "sched.hypers={wd: 1}", "sched.hypers={mom: 0.5}"], "sched.hypers", {"mom": 0.5}),
        (["optim.lr={start: 1, stop: 2}", "~optim.lr.start"], "optim.lr", {"stop": 2}),
        (
            ["transfer=gradual_unfreeze", "~transfer.phases.last_two", "~transfer.phases.all.lr"],
            "transfer.phases",
            {
                "head": {"epochs": 1, "trains": "head", "train_bn": "eval"},
                "all": {"epochs": "rest", "train_bn": "eval"},
            },
        ),
        (
            ["transfer.phases={a: {epochs: 1}}", "transfer.phases.a.trains=2"],
            "transfer.phases",
            {"a": {"epochs": 1, "trains": 2}},
        ),
        (
            ["+transfer.phases.a.epochs=1", "transfer.phases.a.trains=2"],
            "transfer.phases.a",
            {"epochs": 1, "trains": 2},
        ),
        (
            ["sched={_target_: expkit.sched.sgdr, cycle_len: 3}"],
            "sched",
            {"_target_": "expkit.sched.sgdr", "cycle_len": 3},
        ),
        (["objective={metric: valid_loss, mode: min}"], "objective.at", "best"),
        (["lr_find={num_it: 50}"], "lr_find.end_lr", 10.0),
        (
            ["data=array", "data.source={_target_: a, n: 1}", "data.source={_target_: b}"],
            "data.source",
            {"_target_": "b"},
        ),
    ],
)
def test_a_mapping_given_is_the_mapping_used(overrides, key, expected):
    config = composed("+experiment=digits", *overrides)
    found = OmegaConf.select(config, key)
    assert (OmegaConf.to_container(found) if OmegaConf.is_config(found) else found) == expected


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of configs, with an experiment and one that builds on it."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "optim").mkdir()
    (tmp_path / "experiment" / "base.yaml").write_text(
        "# @package _global_\ndefaults:\n- override /transfer: discriminative\n- override /optim: mine\n"
        "optim:\n  lr: {start: 1, stop: 2}\n"
    )
    (tmp_path / "experiment" / "derived.yaml").write_text(
        "# @package _global_\ndefaults:\n- base\n- _self_\n"
        "optim:\n  lr: {stop: 3}\ntransfer:\n  phases:\n    all:\n      lr: {stop: lr}\n"
    )
    (tmp_path / "optim" / "mine.yaml").write_text("_target_: expkit.optim.sgd\nlr: [1, 2, 3]\n")
    return tmp_path


def test_in_files_too(folder):
    config = compose("+experiment=derived", "optim.nesterov=true", folders=[str(folder)])
    assert config.optim == {"_target_": "expkit.optim.sgd", "lr": {"stop": 3}, "nesterov": True}
    assert config.transfer.phases.all == {"epochs": "rest", "lr": {"stop": "lr"}, "train_bn": "eval"}


def test_a_node_of_a_file_with_its_target_is_the_whole_node(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n- override /transfer: fine_tune\n"
        "sched:\n  _target_: expkit.sched.flat_cos\n  pct_start: 0.5\n"
        "transfer:\n  _target_: expkit.transfer.recipe\n  phases:\n    a: {trains: 2}\n"
    )
    config = compose("+experiment=mine", folders=[str(tmp_path)])
    assert config.sched == {"_target_": "expkit.sched.flat_cos", "pct_start": 0.5}
    assert config.transfer.phases == {"a": {"trains": 2}}


def test_in_the_jobs_of_a_sweep_too():
    hydra = open_hydra()
    base = hydra.compose_config("config", ["+experiment=digits", "transfer=discriminative"], RunMode.MULTIRUN)
    composer = Composer(HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks()), base)
    shared = ("+experiment=digits", "transfer=discriminative")
    for overrides in (["transfer.phases.all.lr={stop: lr}"], ["transfer.phases.all.trains=2", "optim.eps=1e-3"]):
        config, _ = composer.job([*shared, *overrides])
        whole = hydra.config_loader.load_sweep_config(base, [*shared, *overrides])
        assert config.transfer == whole.transfer
        assert config.optim == whole.optim
    assert "start" not in composer.job([*shared, "transfer.phases.all.lr={stop: lr}"])[0].transfer.phases.all.lr


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lrr=1", r"optim\.lrr is no key of optim; did you mean 'lr'\?"),
        ("transfer.phases.all.lrr=1", r"transfer\.phases\.all\.lrr is no key of .*did you mean 'lr'\?"),
        ("transfer.phases.al.lr=1", r"transfer\.phases\.al is no key of transfer\.phases; did you mean 'all'\?"),
        ("~transfer.phases.al", r"transfer\.phases\.al is no key of .*did you mean 'all'.*\+transfer\.phases\.al="),
        ("data.root=${HOME}/x", r"data\.root refers to HOME, which is no key of the config; .*\$\{oc\.env:HOME\}"),
        ("+optim=sgd", r"optim has a choice, which is replaced without a plus sign: optim=sgd$"),
        ("hydra.run.dir=null", r"hydra\.run\.dir=null does not do: field 'hydra\.run\.dir' is not Optional"),
        ("trainer.treads=1", r"trainer\.treads is no key of trainer; did you mean 'threads'\?"),
        ("epoch=1", r"epoch is no key of the config; did you mean 'epochs'\?"),
        ("evaluate_test=false", r"evaluate_test is no key of the config; task has one .*, task\.evaluate_test"),
    ],
)
def test_a_key_that_there_is_not_has_its_nearest_spelling(override, message):
    with pytest.raises(Exception) as refused:  # noqa: PT011 (Hydra's, or a UserError)
        plain_of(override)
    assert re.search(message, explain(refused.value))


@pytest.mark.parametrize("sched", ["one_cycle", "flat_cos", "sgdr", "constant"])
def test_fine_tune_takes_every_schedule(sched):
    config = plain_of("transfer=fine_tune", f"sched={sched}", "epochs=4")
    nodes = [overridden(config.sched, one.sched) for one in plan(config).phases]
    assert [node.get("pct_start") for node in nodes] == {
        "one_cycle": [0.99, 0.3],
        "flat_cos": [0.75, 0.75],
    }.get(sched, [None, None])
    own = plain_of("transfer=fine_tune", "transfer.phases.all.sched.pct_start=0.5", "epochs=4")
    assert overridden(own.sched, plan(own).phases[1].sched)["pct_start"] == 0.5


def test_all_folders_of_configs_count(tmp_path):
    for number in (1, 2):
        path = tmp_path / str(number) / "optim" / f"mine{number}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(f"_target_: expkit.optim.sgd\nlr: {number}\n")
    folders = [str(tmp_path / str(number)) for number in (1, 2)]
    assert [compose(f"optim=mine{number}", folders=folders).optim.lr for number in (1, 2)] == [1, 2]
    line = ["--config-dir", "a", "x=1", "--config-dir", "b", "-m", "y=2"]
    args = get_args_parser().parse_intermixed_args(line, namespace=config_folders())
    assert (args.config_dir, args.overrides, args.multirun) == (["a", "b"], ["x=1", "y=2"], True)
    (tmp_path / "2" / "optim" / "mine1.yaml").write_text("_target_: expkit.optim.adam\n")
    with pytest.raises(UserError, match=r"2/optim/mine1\.yaml would never be read, since .*1/optim/mine1\.yaml"):
        compose("optim=mine1", folders=folders)
    (tmp_path / "2" / "optim" / "adam.yaml").write_text("_target_: expkit.optim.adam\n")
    with pytest.raises(UserError, match=r"2/optim/adam\.yaml would never be read"):
        compose("optim=adam", folders=folders)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+experiment=[digits,pets]", r"has one of experiment; write \+experiment=digits"),
        ("optim=[sgd,adam]", r"has one of optim; write optim=sgd, or for a run of each  -m optim=sgd,adam$"),
        ("optim=null", r"^optim=null makes no choice: write optim=NAME"),
        ("+experiment=null", r"^\+experiment=null makes no choice"),
        ("+experiment=digits.yaml", r"leave the suffix out; write \+experiment=digits"),
        ("optim=adam.yml", r"leave the suffix out; write optim=adam"),
        ("+sweeps=[transfer,optimizers]", r"write \+sweeps=transfer"),
    ],
)
def test_choices_that_would_run_as_something_else_are_refused(override, message):
    with pytest.raises(UserError, match=message):
        compose(override)


def test_a_path_begins_at_home_where_it_says_so(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    whole = compose("+experiment=pets", 'data.root="~/photos"', 'hydra.run.dir="~/out"', 'hydra.sweep.dir="~/grid"')
    assert (whole.hydra.run.dir, whole.hydra.sweep.dir) == ("/home/me/out", "/home/me/grid")
    del whole._content["hydra"]
    assert plain(whole).data["root"] == "/home/me/photos"
    stored = plain(composed("+experiment=digits", 'tracking.uri="sqlite:///~/m.db"', "model.weights='~'"))
    assert (stored.tracking["uri"], stored.model["weights"]) == ("sqlite:////home/me/m.db", "/home/me")


PATHS = ["~/pets", "/a#b", "/a=b", "/a,b", "/a[1]", "/Фото", "/a(1)", "/it's", "/a&b", "/写真", 'a"b', "/a;b", "/a{1}"]
PATHS += ["[a]/b", "{a}", "(copy)", "[a"]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_hydra_cannot_parse_comes_back_in_quotes(path):
    with pytest.raises(Exception) as refused:  # noqa: PT011 (Hydra's)
        compose("data=folders", f"data.root={path}")
    pasted = explain(refused.value).splitlines()[-1].strip()
    assert compose("data=folders", *shlex.split(pasted)).data.root == path


def test_a_reference_in_such_a_path_stays_one(monkeypatch):
    monkeypatch.setenv("HERE", "/home/me")
    with pytest.raises(HydraException) as refused:
        compose("data=folders", "data.root=${oc.env:HERE}/a=b,${c")
    pasted = explain(refused.value).splitlines()[-1].strip()
    assert compose("data=folders", *shlex.split(pasted)).data.root == "/home/me/a=b,${c"


def test_a_mapping_as_json_writes_it_comes_back_without_quotes_at_its_keys():
    with pytest.raises(HydraException) as refused:
        compose("sched=custom", 'sched.hypers={"wd": {"shape": "constant", "start": 1}}')
    pasted = explain(refused.value).splitlines()[-1].strip()
    assert compose("sched=custom", *shlex.split(pasted)).sched.hypers == {"wd": {"shape": "constant", "start": 1}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--seed=1", "a key stands without dashes: seed=1"),
        ("--multirum", "did you mean '--multirun'"),
        ("-x", "no flag"),
    ],
)
def test_a_flag_that_there_is_not_is_answered_in_a_sentence(given, message):
    with pytest.raises(UserError, match=message):
        run_hydra(lambda config: None, ["+experiment=digits", given])
