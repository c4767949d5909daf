"""Transfer recipes as whole runs: precomputed features, views, resumes, and what they leave."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from expkit.errors import UserError
from expkit.model.head_only import HeadOnly
from expkit.run_folder import RunFolder
from expkit.task.training import train, train_phases
from expkit.trainer.loop import Observer, Stopped
from expkit.wiring import Kept, assemble, schedules_of
from tests.conftest import SMALL_MODEL
from tests.feed.test_workers import workers_now
from tests.trainer.test_loop import StopAt, equal, weights

# Size 16 computes in float32, where a batch of features and one of images give the same numbers but for rounding.
SMALL = ("+experiment=digits", "data.classes=[0, 1, 2]", "image_size=16", "batch_size=32", "tracking=none")
AUGMENTED = (*SMALL, "augment=side_on", "augment.flip=0.0")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def trained(config_of, tmp_path):
    """Train a config as the command line does; its folder."""

    def run(*overrides: str, name: str = "run") -> RunFolder:
        folder = RunFolder.create(tmp_path / name, "test", {}, [])
        train(config_of(*overrides), folder, report=False)
        return folder

    return run


def result_of(folder: RunFolder) -> dict:
    return json.loads(folder.result.read_text())


class Losses(Observer):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def after_step(self, trainer, loss):
        self.seen.append(loss.item())


def losses_of(config, folder: Path) -> list[float]:
    run, losses = assemble(config), Losses()
    run.trainer.observe([losses])
    train_phases(run, RunFolder(folder, "test"))
    run.feed.close()
    return losses.seen


def test_a_run_on_features_of_the_cache_never_builds_the_body_and_ends_the_same(trained, config_of):
    frozen = (*SMALL, "transfer=frozen_precompute", "epochs=3")
    cold, warm = trained(*frozen, name="cold"), trained(*frozen, name="warm")
    assert isinstance(assemble(config_of(*frozen)).trainer.model, HeadOnly)
    assert result_of(cold)["metrics"] == result_of(warm)["metrics"]
    first, second = load_file(cold.exported_weights), load_file(warm.exported_weights)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert result_of(cold)["objective"]["value"] > 0.6


def test_the_exported_model_answers_for_images_as_the_head_did_for_features(trained, config_of):
    folder = trained(*SMALL, "transfer=frozen_precompute", "epochs=2", "objective.at=last")
    config = config_of(*SMALL)
    run = assemble(config)
    run.trainer.model.load_state_dict(load_file(folder.exported_weights))
    _, valid = run.feed.batches(run.recipe.phases[0])
    found = run.trainer.evaluate(valid).metrics
    last = result_of(folder)["metrics"]["last"]
    assert found == pytest.approx({name: last[name] for name in found}, rel=1e-5)


IMAGES = (
    "transfer.phases.head.precompute=false",
    "transfer.phases.head.views=null",
    "transfer.phases.head.augment=null",
)
"""Turns a recipe of precomputed features into the same on images."""


def test_precomputed_features_train_the_head_as_a_frozen_body_does(config_of, tmp_path):
    frozen = (*SMALL, "transfer=frozen_precompute", "optim.train_bn=eval", "epochs=2")
    images, features = losses_of(config_of(*frozen, *IMAGES), tmp_path), losses_of(config_of(*frozen), tmp_path)
    assert images == pytest.approx(features, rel=1e-4)


def test_epoch_e_reads_view_e_of_the_augmented_images(config_of, tmp_path):
    views = (*AUGMENTED, "transfer=frozen_views", "transfer.tta=0", "optim.train_bn=eval", "epochs=3")
    images = losses_of(config_of(*views, *IMAGES[:2], "+transfer.phases.head.augment=null"), tmp_path)
    assert losses_of(config_of(*views, "transfer.phases.head.views=3"), tmp_path) == pytest.approx(images, rel=1e-4)
    again = losses_of(config_of(*views, "transfer.phases.head.views=2"), tmp_path)
    steps = len(images) // 3
    assert again[: 2 * steps] == pytest.approx(images[: 2 * steps], rel=1e-4)
    assert again[2 * steps :] != pytest.approx(images[2 * steps :], rel=1e-4)


RECIPE = (*AUGMENTED, *SMALL_MODEL, "transfer=full_recipe", "epochs=4", "transfer.tta=2")


def test_a_recipe_stopped_in_any_phase_goes_on_to_the_same_bits(config_of, tmp_path):
    config, folder = config_of(*RECIPE), RunFolder(tmp_path, "test")
    whole = assemble(config)
    train_phases(whole, folder)
    for step in (7, 13, 20, 31, 45):
        stopped = assemble(config)
        stopped.trainer.observe([StopAt(step)])
        with pytest.raises(Stopped):
            train_all(stopped)
        assert stopped.trainer.state.step == step
        resumed = assemble(config)
        resumed.trainer.load_state_dict(stopped.trainer.state_dict())
        train_phases(resumed, folder)
        assert resumed.trainer.state.step == whole.trainer.state.step
        assert equal(weights(whole.trainer), weights(resumed.trainer)), step
        for run in (stopped, resumed):
            run.feed.close()
    whole.feed.close()


def train_all(run) -> None:
    for phase in run.recipe.phases:
        train, valid = run.feed.batches(phase)
        run.trainer.prepare(phase)
        peaks = run.peaks(phase, lambda rates: rates[-1])
        run.trainer.fit(phase, schedules_of(run.config, phase, peaks), train, valid)


def test_the_whole_recipe_leaves_traces_of_every_phase_and_averages_views(trained):
    import pyarrow.parquet as pq

    folder = trained(*RECIPE)
    result = result_of(folder)
    assert result["epochs"] == 4
    assert set(result["metrics"]) == {"last", "best", "tta"}
    written = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    averaged = {point["name"]: point["value"] for point in written if point["name"].startswith("tta_")}
    assert averaged == {name.replace("valid_", "tta_"): value for name, value in result["metrics"]["tta"].items()}
    traces = pq.read_table(folder.traces).to_pandas()
    assert traces["step"].tolist() == list(range(result["steps"]))
    steps = result["steps"] // 4
    assert traces["lr_2"][:steps].tolist() == [0.003] * steps
    assert traces["lr_2"][steps] == traces["lr_2"][2 * steps] == 0.003
    assert traces["lr_2"][2 * steps - 1] < 0.0005
    assert traces["lr_0"][3 * steps] == pytest.approx(0.003 / 2000)


def test_rates_come_from_the_finder_and_a_resume_does_not_ask_again(config_of, tmp_path):
    config = config_of(*SMALL, "transfer=fine_tune", "epochs=2", "optim.lr=auto", "transfer.phases.all.lr=auto")
    asked = []

    def find(rates):
        asked.append(list(rates))
        return 0.01

    run = assemble(config)
    first, second = run.recipe.phases
    assert run.peaks(first, find) == pytest.approx([0.001, 0.001, 0.01])
    assert run.peaks(second, find) == [0.01] * 3
    assert run.peaks(second, find) == [0.01] * 3
    assert asked == [[1.0] * 3, [1.0] * 3]
    assert run.trainer.state_dict()["state"]["found"] == {"optim.lr": 0.01, "all": 0.01}


def test_runs_of_one_process_share_data(config_of):
    kept = Kept()
    one, other = (assemble(config_of(*SMALL, f"seed={seed}"), kept) for seed in (0, 1))
    assert one.data is other.data


def test_each_run_of_a_process_begins_with_a_model_of_its_own_as_if_it_were_alone(config_of):
    kept = Kept()
    for overrides in ([], [], ["seed=1"], ["model=resnet34"], []):
        config = config_of(*SMALL, *overrides)
        model, alone = assemble(config, kept).trainer.model, assemble(config).trainer.model
        assert [group.name for group in model.layer_groups] == [group.name for group in alone.layer_groups]
        own = {id(parameter) for parameter in model.parameters()}
        assert {id(one) for group in model.layer_groups for one in group.parameters()} == own
        expected = alone.state_dict()
        assert model.state_dict().keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()


def test_more_groups_than_the_model_has_cannot_train(config_of):
    config = config_of(*SMALL, "transfer=gradual_unfreeze", "epochs=3", "transfer.phases.last_two.trains=4")
    with pytest.raises(UserError, match=r"transfer\.phases\.last_two\.trains=4, but the model has 3 layer groups"):
        assemble(config)


@pytest.mark.parametrize(
    ("overrides", "advice"),
    [
        (["transfer=full_recipe", "epochs=7"], "epochs=6 or epochs=10"),
        (
            ["transfer=fine_tune", "sched=sgdr", "epochs=3"],
            "transfer.phases.head.epochs=1 epochs=2 or transfer.phases.head.epochs=1 epochs=4",
        ),
        (
            ["transfer=fine_tune", "transfer.phases.all.epochs=2", "sched=sgdr", "epochs=3"],
            "transfer.phases.head.epochs=1 transfer.phases.all.epochs=1 epochs=2 or "
            "transfer.phases.head.epochs=1 transfer.phases.all.epochs=3 epochs=4",
        ),
    ],
)
def test_epochs_that_do_not_suit_a_phase_are_advised_for_the_run(config_of, overrides, advice):
    common = ("+experiment=digits", "augment=side_on", *SMALL_MODEL, "image_size=16")
    with pytest.raises(UserError, match=f"give {advice}$"):
        assemble(config_of(*common, *overrides))
    for given in advice.split(" or "):
        assemble(config_of(*common, *overrides, *given.split()))


def test_workers_end_with_the_phase_that_needs_them(config_of, colour_folders):
    config = config_of(
        *(
            "data=folders",
            f"data.root={colour_folders}",
            *SMALL_MODEL,
            "image_size=16",
            "batch_size=8",
            "num_workers=1",
        ),
        *("augment=side_on", "transfer=fine_tune", "epochs=2", "+transfer.phases.head.augment=false", "tracking=none"),
    )
    run = assemble(config)
    seen = []
    for phase in run.recipe.phases:
        train, _ = run.feed.batches(phase)
        next(iter(train))
        seen.append({worker.pid for worker in workers_now()})
    run.feed.close()
    assert [len(pids) for pids in seen] == [1, 1]
    assert seen[0].isdisjoint(seen[1])
