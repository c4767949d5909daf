"""Runs side by side: real ones, on shared and on different images, with other seeds, stopped, and wrongly named."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

import expkit
from expkit.comparison.configs import setups_of
from expkit.comparison.runs import read_run
from expkit.comparison.significance import holm, mcnemar, mean_interval, paired_t
from expkit.errors import UserError
from expkit.run_folder import RunFolder
from tests.conftest import SMALL_MODEL

TINY = (
    *("+experiment=digits", "image_size=16", "batch_size=256", "epochs=2", "transfer=frozen_precompute"),
    *("tracking=none", "num_workers=0", "task.report=false", "model.head=linear", *SMALL_MODEL),
)

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture(scope="module")
def grid(project):
    """Two optimizers with two seeds each: jobs 0 and 1 with sgd, 2 and 3 with adam."""
    return expkit.sweep(*TINY, "optim=sgd,adam", "seed=0,1", "optim.lr=0.02", "hydra.sweep.dir=grid", quiet=True)


@pytest.fixture(scope="module")
def two(grid):
    return expkit.compare("grid/0", "grid/2", quiet=True)


@pytest.fixture(scope="module")
def fewer(grid):
    """A run that was validated on other images."""
    return expkit.run(*TINY, "data.valid_pct=0.3", "optim.lr=0.02", "hydra.run.dir=fewer", quiet=True)


def rights(run: str) -> pd.Series:
    found = pd.read_parquet(f"{run}/predictions.parquet").set_index("file")
    return found["label"] == found["prediction"]


def test_two_runs_are_compared_image_by_image(two):
    a, b = rights("grid/0"), rights("grid/2")
    gained, lost = int((b & ~a).sum()), int((a & ~b).sum())
    row = two.setups.loc["B"]
    assert row["difference"] == pytest.approx(b.mean() - a.mean())
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert (row["gained"], row["lost"], row["test"]) == (gained, lost, "McNemar")
    assert row["p"] == pytest.approx(stats.binomtest(gained, gained + lost).pvalue)
    interval = stats.binomtest(int(a.sum()), len(a)).proportion_ci(method="wilson")
    assert two.setups.loc["A", ["accuracy_low", "accuracy_high"]].tolist() == pytest.approx(list(interval), abs=1e-6)
    assert set(two.images.index) == set(a.index[a != b])
    gap = (two.by_class["B"] - two.by_class["A"]).abs()
    assert gap.is_monotonic_decreasing
    assert (two.by_class["A"] * two.by_class["images"]).sum() == pytest.approx(a.sum())
    assert f"B alone tells {gained} rightly, A alone {lost}" in repr(two)


def test_of_the_configs_the_choice_is_told_and_not_what_follows_from_it(two):
    columns = [name for name in two.runs if name == "optim" or str(name).startswith(("optim.", "data", "sched"))]
    assert columns == ["optim"]
    assert two.runs["optim"].tolist() == ["sgd", "adam"]


def test_page_and_picture_are_whole(two):
    page = (two.folder / "comparison.html").read_text()
    assert page.count("<figure>") == min(24, len(two.images))
    assert page.count("data:image/png") == 1 + page.count("<figure>")
    assert "http" not in page.replace("http-equiv", "")
    assert all(answer.split(" (")[0] in page for answer in two.answers)
    assert Image.open(two.folder / "comparison.png").width == 1100
    assert "data:image/png" in two._repr_html_()


def test_repeats_over_seeds_have_mean_and_deviation_and_a_paired_test(grid):
    found = expkit.compare(grid, quiet=True)
    scores = {key: group.sort_values("seed")["valid_accuracy"] for key, group in found.runs.groupby("optim")}
    best = max(scores, key=lambda key: scores[key].mean())
    other = next(key for key in scores if key != best)
    first, second = found.setups.loc["A"], found.setups.loc["B"]
    assert first["mean_valid_accuracy"] == pytest.approx(scores[best].mean())
    assert second["std_valid_accuracy"] == pytest.approx(scores[other].std(ddof=1))
    assert second["p"] == pytest.approx(stats.ttest_rel(scores[best], scores[other]).pvalue)
    assert second["test"] == "paired t-test over seeds"
    assert found.runs.index.tolist() == ["A1", "A2", "B1", "B2"]


def test_repeats_that_say_nothing_of_chance_are_told(grid, project):
    shutil.copytree(project / "grid" / "0", project / "again")
    found = expkit.compare("grid/0", "again", "grid/1", "grid/2", examples=0, quiet=True)
    assert any(
        "A1 (seed 0), A2 (seed 0) and A3 (seed 1) are alike in config, and some in the seed" in note
        for note in found.notes
    )
    assert any("B and A share fewer than two seeds" in note for note in found.notes)
    assert pd.isna(found.setups.loc["B", "p"])


def test_runs_that_differ_in_the_seed_alone_are_compared_with_each_other(grid):
    found = expkit.compare("grid/0", "grid/1", examples=0, quiet=True)
    assert found.setups["settings"].tolist() == ["seed=0", "seed=1"]
    assert "The configs differ in the seed alone" in repr(found)
    assert found.setups.loc["B", "test"] == "McNemar"


def test_on_different_images_those_count_that_both_have_which_is_said(grid, fewer):
    found = expkit.compare("grid/0", fewer, quiet=True)
    a, b = rights("grid/0"), rights("fewer")
    common = a.index.intersection(b.index)
    assert 0 < len(common) < len(b)
    told = f"validated on different images ({len(a)} and {len(b)} of them): the {len(common)} images that all have"
    assert told in " ".join(found.notes)
    assert found.setups["accuracy"].tolist() == pytest.approx([a[common].mean(), b[common].mean()])
    assert "data.valid_pct" in found.runs


def test_a_run_validated_on_other_images_is_set_beside_on_those_that_it_shares(grid, fewer):
    a, b, c = (rights(run) for run in ("grid/0", "grid/2", "fewer"))
    both = a.index.intersection(c.index)
    found = expkit.compare("grid/0", fewer, "grid/2", examples=0, quiet=True)
    assert found.setups["images"].tolist() == [len(a), len(both), len(a)]
    assert found.setups["accuracy"].tolist() == pytest.approx([a.mean(), c[both].mean(), b.mean()])
    gained = int((c[both] & ~a[both]).sum()), int((a[both] & ~c[both]).sum())
    assert found.setups.loc["B", ["gained", "lost", "test"]].tolist() == [*gained, "McNemar"]
    assert set(found.by_class) == {"images", "A", "C"}
    assert f"it is set beside A on the {len(both)} images that both have, of which A tells" in " ".join(found.notes)
    first = expkit.compare(fewer, "grid/0", "grid/2", examples=0, quiet=True)
    assert first.setups.loc["B":, "difference"].isna().tolist() == [True, False]
    assert first.setups.loc["C", "difference"] == pytest.approx(b.mean() - a.mean())
    assert any(note.startswith("A was validated on other images than the rest") for note in first.notes)


def test_the_curves_are_a_table(two):
    history = two.curves
    assert history["epoch"].tolist() == [1, 2, 1, 2]
    assert history.index.tolist() == ["A", "A", "B", "B"]
    best = history["valid_accuracy"].groupby(level=0).max()
    assert best.tolist() == pytest.approx(two.runs["valid_accuracy"].tolist())


def test_what_is_not_finished_or_has_no_predictions_is_said(grid, project):
    for name in ("stopped", "bare"):
        shutil.copytree(project / "grid" / "2", project / name)
    (project / "stopped" / "result.json").unlink()
    with open(project / "stopped" / "metrics.jsonl", "a") as file:
        file.write('{"name": "valid_lo')  # as a run that is at work leaves it
    (project / "bare" / "predictions.parquet").unlink()
    found = expkit.compare("grid/0", "stopped", "bare", quiet=True)
    assert any(
        "(stopped) is not finished: its best epoch of 2 epochs so far is compared" in note for note in found.notes
    )
    assert any("left no predictions" in note for note in found.notes)
    assert (project / "stopped" / "metrics.jsonl").read_text().endswith('{"name": "valid_lo')
    alone = expkit.compare("bare", "grid/0", quiet=True)
    assert alone.by_class.empty
    assert alone.runs["valid_accuracy"].notna().all()


def test_judged_by_different_metrics_the_accuracy_counts(grid, project):
    shutil.copytree(project / "grid" / "2", project / "by_loss")
    path = project / "by_loss" / "config.yaml"
    path.write_text(path.read_text().replace("metric: valid_accuracy\n  mode: max", "metric: valid_loss\n  mode: min"))
    found = expkit.compare("grid/0", "by_loss", examples=0, quiet=True)
    assert any("A by valid_accuracy (max), B by valid_loss (min), so the accuracy" in note for note in found.notes)
    assert "mean_valid_accuracy" in found.setups


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        (["grid/0"], "grid/0 is one run: name another"),
        (["grid/0", "grid/../grid/0"], "task.runs names the run grid/0 as grid/0 and as grid/../grid/0"),
        (["grid/0", "grid/9"], "grid/9 is neither a run folder nor"),
        (["grid/0", "grid"], "grid is a grid, not a run: write best:grid"),
        (["cache"], "task.runs=cache: no run that is finished lies there"),
        (["nowhere"], "nowhere is neither a run folder"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_in_a_sentence(grid, project, runs, told):
    before = list(project.glob("outputs/compare/*"))
    with pytest.raises(UserError) as refused:
        expkit.compare(*runs, quiet=True)
    assert told in str(refused.value)
    assert list(project.glob("outputs/compare/*")) == before


def test_runs_of_different_classes_are_refused(grid):
    expkit.run(*TINY, "data.classes=[0,1]", "hydra.run.dir=pair", quiet=True)
    with pytest.raises(UserError, match=r"tells 10 classes apart and .*pair 2, so their scores do not compare"):
        expkit.compare("grid/0", "pair", quiet=True)


def test_a_key_that_an_earlier_version_had_not_is_no_difference(grid, project):
    shutil.copytree(project / "grid" / "0", project / "earlier")
    path = project / "earlier" / "config.yaml"
    path.write_text("".join(line for line in path.open() if "label_smoothing" not in line))
    (first, second) = (read_run(RunFolder.at(project / name)) for name in ("grid/0", "earlier"))
    assert len(first.config["trainer"]) == len(second.config["trainer"]) + 1
    assert [setup.settings for setup in setups_of([first, second])] == [{}, {}]


def test_the_tests_are_those_of_scipy_and_of_the_papers():
    a, b = np.repeat([1.0, 0.0, 1.0], [12, 3, 85]), np.repeat([0.0, 1.0, 1.0], [12, 3, 85])
    assert mcnemar(a, b) == pytest.approx(0.03515625)  # 2 * P(X <= 3) of 15 coins
    assert mcnemar(a, a) == 1
    low, high = mean_interval(a - b, 20_000)
    scipys = stats.bootstrap((a - b,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    assert (low, high) == pytest.approx((scipys.low, scipys.high), abs=0.011)  # a step is 0.01
    assert holm([0.01, None, 0.04, 0.03]) == [0.03, None, 0.06, 0.06]
    assert paired_t([0.9], [0.8]) is None
    assert paired_t([0.9, 0.8], [0.9, 0.8]) == 1
    assert paired_t([0.9, 0.8], [0.8, 0.7]) is None
