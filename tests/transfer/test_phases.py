"""Transfer recipes: phases that fill the epochs, their rates and overrides, and fastai's numbers."""

from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from torch import Tensor

from expkit.config.plan import overridden, plan
from expkit.config.schema import check_node
from expkit.errors import UserError
from expkit.feed.loading import Batch
from expkit.optim import adam
from expkit.sched import one_cycle
from expkit.trainer import default
from expkit.trainer.loop import Observer, Trainer
from expkit.transfer import Phase, recipe
from expkit.wiring import transforms_of
from tests.conftest import ROOT
from tests.optim.tiny import golden, tiny_from
from tests.sched.test_golden_sched import check_weights, data_of

RECIPES = sorted(Path(ROOT, "conf", "transfer").glob("*.yaml"))
GROUPS = ["early", "late", "head"]


class InOrder:
    """Batches of four in the order of the items, as the reference values were made."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y, self.batches = x, y, len(x) // 4

    def stream(self, epoch, batch, epochs):
        for _ in range(epoch, epochs):
            yield from self

    def __iter__(self):
        for rows in range(0, len(self.x), 4):
            yield Batch(self.x[rows : rows + 4], self.y[rows : rows + 4])

    def close(self):
        pass


class Trace(Observer):
    def __init__(self) -> None:
        self.rows: list[dict[str, list[float]]] = []

    def after_step(self, trainer: Trainer, loss: Tensor) -> None:
        self.rows.append({name: trainer.optimizer.get(name) for name in ("lr", "mom", "wd")})


def phases_of(name: str, epochs: int):
    node = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "transfer" / f"{name}.yaml"))
    assert isinstance(node, dict)
    node.pop("_target_")
    return recipe(epochs, **node).phases


def test_fine_tune_gives_the_numbers_of_fastai():
    reference = golden("fastai.json")
    case, start = reference["fine_tune"], reference["policies"]
    model = tiny_from(start["init"])
    optimizer = adam(model, lr=case["base_lr"], wd=0.03)
    trainer = default(model, optimizer, 3, 0, device="cpu", precision="fp32")
    trace = Trace()
    trainer.observe([trace])
    loader = InOrder(*data_of(reference["policies"]))
    base = optimizer.get("lr")
    head, whole = phases_of("fine_tune", case["freeze_epochs"] + case["epochs"])
    head = replace(head, epochs=case["freeze_epochs"])
    whole = replace(whole, epochs=case["epochs"], lr={"start": "lr / 200", "stop": "lr / 2"})  # fastai's lr_mult = 100
    for phase in (replace(one, train_bn=None) for one in (head, whole)):
        peaks = phase.rates(base, optimizer.groups)
        trainer.fit(phase, one_cycle(peaks, **phase.sched["one_cycle"]), loader, loader)
    last = case["trace_last_phase"]
    for row, expected in zip(trace.rows[-len(last) :], last, strict=True):
        for name, values in expected.items():
            assert row[name] == pytest.approx(values, rel=1e-6)
    check_weights(model, case["final"])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_fill_the_epochs_and_begin_with_precomputed_features(path):
    phases = phases_of(path.stem, 10)
    assert sum(phase.epochs for phase in phases) == 10
    frozen = [phase.precompute for phase in phases]
    assert frozen == sorted(frozen, reverse=True)
    for phase in phases:
        assert 0.00099 < phase.rates([0.01] * 3, GROUPS)[-1] <= 0.01


@pytest.mark.parametrize(("epochs", "lengths"), [(2, (1, 1)), (3, (1, 2)), (5, (2, 3)), (10, (4, 6)), (25, (10, 15))])
def test_a_phase_may_take_a_share_of_the_epochs(epochs, lengths):
    made = recipe(epochs, phases={"head": {"epochs": 0.4, "trains": "head"}, "all": {"epochs": "rest"}}).phases
    assert tuple(phase.epochs for phase in made) == lengths


def test_a_share_that_leaves_nothing_is_refused():
    with pytest.raises(UserError, match=r"epochs=1 leaves nothing for the phase all, since the others take 1"):
        recipe(1, phases={"head": {"epochs": 0.4}, "all": {"epochs": "rest"}})
    with pytest.raises(UserError, match=r"transfer\.phases\.head\.epochs must be .*, got 1\.5"):
        recipe(3, phases={"head": {"epochs": 1.5}, "all": {"epochs": "rest"}})


def test_rates_are_relative_to_the_head_or_to_what_the_finder_found():
    base = [0.001, 0.002, 0.01]
    assert Phase("all", 1).rates(base, GROUPS) == base
    spread = Phase("all", 1, lr={"start": "lr / 100", "stop": "lr * 2"})
    assert spread.rates(base, GROUPS) == pytest.approx([1e-4, (1e-4 * 0.02) ** 0.5, 0.02])
    assert Phase("all", 1, lr=[1e-4, "lr / 2 / 5", "lr"]).rates(base, GROUPS) == pytest.approx([1e-4, 1e-3, 1e-2])
    found = Phase("all", 1, lr="auto")
    assert found.searches
    assert found.rates(base, GROUPS, found=0.5) == pytest.approx([0.05, 0.1, 0.5])
    assert Phase("all", 1, lr={"start": "auto / 10", "stop": "auto"}).searches
    assert not spread.searches


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ({}, "phases must be"),
        ({"head": {"epochs": 2}}, "take 2 epochs together, but epochs=5; give epochs=2"),
        ({"head": {"epochs": 5}, "all": {}}, "epochs=5 leaves nothing for the phase all, since the others take 5"),
        ({"head": {}, "all": {}}, "head and all both take the rest"),
        (
            {"head": {"epoch": 2}},
            "transfer.phases.head.epoch is no key of transfer.phases.head; did you mean 'epochs'?",
        ),
        ({"head": {"epochs": 0}}, "transfer.phases.head.epochs must be"),
        ({"head": {"trains": "haed"}}, "did you mean 'head'?"),
        ({"head": {"trains": 0}}, "transfer.phases.head.trains must be"),
        ({"head": {"precompute": True}}, "transfer.phases.head.precompute trains the head alone"),
        ({"head": {"views": 3, "trains": "head"}}, "transfer.phases.head.views is for precomputed features"),
        (
            {"all": {"epochs": 1}, "head": {"trains": "head", "precompute": True}},
            "transfer.phases.head.precompute comes after the phase all, in which the body moves",
        ),
    ],
)
def test_phases_that_cannot_be_are_refused(phases, message):
    with pytest.raises(UserError) as refused:
        recipe(5, phases=phases)
    assert message in str(refused.value)


@pytest.mark.parametrize("lr", ["lr / 0", "rl / 2", "lr + 1", "lr / x"])
def test_relative_rates_that_are_none_are_refused(lr):
    with pytest.raises(UserError, match=r"transfer\.phases\.all\.lr"):
        Phase("all", 1, lr=lr).rates([0.1], ["head"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["sched=sgdr", "transfer=fine_tune", "transfer.phases.head.sched.pct_start=0.5"],
            "transfer.phases.head.sched.pct_start is no key of",
        ),
        (
            ["sched=sgdr", "transfer=fine_tune", "transfer.phases.all.sched.one_cycle.pct_strt=0.5"],
            "transfer.phases.all.sched.one_cycle.pct_strt is no key of",
        ),
        (
            ["transfer=fine_tune", "transfer.phases.head.sched.pct_start=1.5"],
            "transfer.phases.head.sched.pct_start must",
        ),
        (["+transfer.phases.all.augment={rotat: 3}"], "transfer.phases.all.augment.rotat is no key of"),
        (["+transfer.phases.all.sched={_target_: expkit.optim.adam}"], "belongs to another group"),
        (["+transfer.phases.all.sched={_target_: os.system}"], "is nothing that a config may name"),
    ],
)
def test_overrides_that_do_not_fit_are_refused_before_anything_is_built(config_of, overrides, message):
    with pytest.raises(UserError) as refused:
        plan(config_of("+experiment=digits", "augment=side_on", *overrides))
    assert message in str(refused.value)


def test_keys_replace_those_of_the_run_and_a_target_replaces_all():
    run = {"_target_": "expkit.sched.one_cycle", "pct_start": 0.25, "div": 25.0}
    assert overridden(run, {"div": 5.0}) == {**run, "div": 5.0}
    whole = {"_target_": "expkit.sched.sgdr", "cycle_len": 2}
    assert overridden(run, whole) == whole
    check_node("sched", whole, "transfer.phases.all.sched")


def test_precomputed_features_see_no_random_images_but_views(config_of):
    config = config_of("+experiment=digits", "augment=side_on")
    head = Phase("head", 1, 1, precompute=True)
    with pytest.raises(UserError, match=r"set transfer\.phases\.head\.augment=false, or transfer\.phases\.head\.views"):
        transforms_of(config, head)
    assert transforms_of(config, Phase("head", 1, 1, precompute=True, views=2)).random
    assert not transforms_of(config, Phase("head", 1, 1, precompute=True, augment=False)).random
    with pytest.raises(UserError, match=r"views=2 views of an image would be alike"):
        transforms_of(config_of("+experiment=digits"), Phase("head", 1, 1, precompute=True, views=2))


def test_epochs_follow_from_the_phases(config_of):
    auto = ["+experiment=digits", "epochs=auto", "transfer=full_recipe", "augment=side_on"]
    with pytest.raises(UserError, match=r"transfer\.phases\.all has neither"):
        plan(config_of(*auto))
    cycles = plan(config_of(*auto, "+transfer.phases.all.sched.n_cycles=2"))
    assert [phase.epochs for phase in cycles.phases] == [1, 2, 3]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("transfer.phases.head.epochs=abc", r"transfer\.phases\.head\.epochs must be .*got 'abc'"),
        ("transfer.phases.head.epochs=-1", r"transfer\.phases\.head\.epochs must be"),
        ("transfer.phases.head.epochs=1.5", r"transfer\.phases\.head\.epochs must be"),
        ("++transfer.phases.all.sched={n_cycles: abc}", r"transfer\.phases\.all\.sched\.n_cycles must be"),
        ("++transfer.phases.all.sched=5", r"transfer\.phases\.all\.sched must be"),
    ],
)
def test_epochs_that_follow_from_the_phases_are_checked(config_of, override, message):
    with pytest.raises(UserError, match=message):
        plan(config_of("+experiment=digits", "epochs=auto", "sched=sgdr", "transfer=full_recipe", override))
