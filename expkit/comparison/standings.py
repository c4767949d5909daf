"""A comparison: where each setup stands beside the first, and what that says, in sentences and as tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from expkit.command import shown
from expkit.comparison.configs import Setup, setups_of
from expkit.comparison.images import Shared, check_classes, images_of, listed, shared_by
from expkit.comparison.runs import Compared
from expkit.comparison.significance import ALPHA, holm, mcnemar, mean_interval, paired_t, spread_of
from expkit.config.schema import BETTER
from expkit.trained.scores import share_interval
from expkit.words import many


@dataclass(frozen=True)
class Standing:
    """A setup beside the one that all are set beside."""

    setup: Setup
    mean: float | None
    """Of the metric, over the runs of the setup."""
    spread: float | None
    """The standard deviation over its runs; None of one run."""
    accuracy: float | None = None
    """On the shared images, or where its own are others, on those that the first setup has, too; None: there are none.
    """
    images: int = 0
    """How many these are."""
    interval: tuple[float, float] | None = None
    """Of the accuracy, 95% (Wilson)."""
    difference: float | None = None
    """The accuracy less that of the first setup; None for that itself."""
    difference_interval: tuple[float, float] | None = None
    """Of the difference, 95%, from bootstrap samples of the images."""
    chance: float | None = None
    """The p-value of the test, corrected for the number of setups (Holm)."""
    test: str = ""
    gains: int = 0
    """Images that the setup tells rightly and the first one does not."""
    losses: int = 0
    """Images that the first setup alone tells rightly."""

    @property
    def differs(self) -> bool:
        """Whether it differs from the first beyond chance."""
        return self.chance is not None and self.chance < ALPHA


@dataclass(frozen=True)
class Comparison:
    """Runs side by side."""

    setups: Sequence[Setup]
    metric: str
    """What they are judged by: their objective, or the accuracy where they have several."""
    standings: Sequence[Standing]
    shared: Shared | None
    """The images that most setups were validated on."""
    notes: Sequence[str] = field(default_factory=list)
    """What is not compared, and why; a sentence each."""

    @property
    def runs(self) -> list[tuple[str, Setup, Compared]]:
        """Each run with its letter and its setup."""
        return [(setup.name_of(run), setup, run) for setup in self.setups for run in setup.runs]

    @property
    def first(self) -> Standing:
        """The one that the others are set beside: the first, but for those that were validated on other images."""
        return next(one for one in self.standings if one.setup is first_of(self.setups, self.shared))

    @property
    def others(self) -> list[Standing]:
        """All but the first."""
        return [one for one in self.standings if one is not self.first]

    @property
    def repeated(self) -> bool:
        """Whether a setup has runs of several seeds."""
        return any(len(setup.runs) > 1 for setup in self.setups)

    @property
    def keys(self) -> list[str]:
        """The keys that differ between setups."""
        return list(dict.fromkeys(key for setup in self.setups for key in setup.settings))


def compare(runs: Sequence[Compared], *, resamples: int, notes: Sequence[str] = ()) -> Comparison:
    """Compare runs, the first of which the others are set beside.

    Raises UserError for runs of different classes.
    """
    check_classes(runs)
    told = [*notes, *notes_on(runs)]
    setups = setups_of(runs)
    objectives = {run.objective for run in runs}
    metric = runs[0].objective if len(objectives) == 1 else "valid_accuracy"
    names = {id(run): setup.name_of(run) for setup in setups for run in setup.runs}
    if len(objectives) > 1:
        judged = ", ".join(
            f"{listed([names[id(run)] for run in runs if run.objective == one])} by {one} ({BETTER[one]})"
            for one in sorted(objectives)
        )
        told.append(f"The runs are judged by different metrics, {judged}, so the accuracy is compared.")
    told += map(note_on_seeds, filter(repeats_a_seed, setups))
    shared = shared_by(setups, told)
    standings = standings_of(setups, metric, shared, resamples, told)
    return Comparison(setups, metric, standings, shared, told)


def notes_on(runs: Sequence[Compared]) -> list[str]:
    """What is to be known of single runs."""
    notes = []
    for run in runs:
        called = f"{run.name} ({shown(run.folder.path)})"
        if not run.result:
            epochs = many(len(run.history), "epoch", "epochs")
            notes.append(f"{called} is not finished: its best epoch of {epochs} so far is compared.")
        if run.classes is None:
            notes.append(f"{called} is of an earlier version, which left no list of its classes.")
        if run.config["objective"].get("at") == "last" and run.found is not None:
            notes.append(
                f"{called} is judged by its last epoch (objective.at=last), but its predictions are of its best, "
                f"epoch {run.best_epoch}."
            )
    return notes


def repeats_a_seed(setup: Setup) -> bool:
    """Whether runs of a setup have the same seed, too, so that one repeats the other."""
    return len({run.seed for run in setup.runs}) < len(setup.runs)


def note_on_seeds(setup: Setup) -> str:
    """What such runs do to a mean and a deviation."""
    told = listed([f"{setup.name_of(run)} (seed {run.seed})" for run in setup.runs])
    return (
        f"{told} are alike in config, and some in the seed, too: these repeat one another, so that the deviation over "
        "seeds comes out too small; name one run of each seed."
    )


def standings_of(
    setups: Sequence[Setup], metric: str, shared: Shared | None, resamples: int, notes: list[str]
) -> list[Standing]:
    """Where each setup stands; notes say of which no test can be made."""
    first = first_of(setups, shared)
    own = [shared if shared is None or setup in shared.setups else beside(setup, first, notes) for setup in setups]
    found = [standing(setup, first, metric, images, resamples) for setup, images in zip(setups, own, strict=True)]
    untested = [one.setup.letter for one in found if one.test and one.chance is None]
    if untested:
        notes.append(
            f"{listed(untested)} and {first.letter} share fewer than two seeds, or differ alike in each, so there "
            "is no paired test over seeds: give both the same seeds."
        )
    corrected = holm([one.chance for one in found])
    return [replace(one, chance=chance) for one, chance in zip(found, corrected, strict=True)]


def first_of(setups: Sequence[Setup], shared: Shared | None) -> Setup:
    """The setup that the others are set beside."""
    return next((setup for setup in setups if shared is None or setup in shared.setups), setups[0])


def beside(setup: Setup, first: Setup, notes: list[str]) -> Shared | None:
    """The images that a setup shares with the first, where its own are others than the rest has; a note says so."""
    if all(run.found is None for run in setup.runs):
        return None
    own = images_of([setup, first], [])
    images = f"{many(len(own.files), 'image', 'images')} that both have" if own else ""
    told = (
        f"is set beside {first.letter} on the {images}, of which {first.letter} tells {float(own.right[1].mean()):.4f} "
        "rightly."
        if own
        else f"shares none with {first.letter} by name and label, so that its scores alone are shown, which say little."
    )
    notes.append(f"{setup.letter} was validated on other images than the rest: it {told}")
    return own


def standing(setup: Setup, first: Setup, metric: str, shared: Shared | None, resamples: int) -> Standing:
    """Where a setup stands beside the first one on `shared` images, before the correction for the number of tests."""
    scores = [score for run in setup.runs if (score := run.score(metric)) is not None]
    facts: dict[str, Any] = {
        "mean": float(np.mean(scores)) if len(scores) == len(setup.runs) else None,
        "spread": spread_of(scores),
    }
    is_first, is_repeated = setup is first, len(setup.runs) > 1 or len(first.runs) > 1
    if is_repeated and not is_first:
        facts |= {"chance": over_seeds(setup, first, metric), "test": "paired t-test over seeds"}
    if shared is None or setup not in shared.setups or first not in shared.setups:
        return Standing(setup, **facts)
    right, base = (shared.right[shared.setups.index(one)] for one in (setup, first))
    accuracy = float(right.mean())
    facts |= {"accuracy": accuracy, "images": len(right), "interval": share_interval(accuracy, len(right))}
    if not is_first:
        facts |= {
            "difference": accuracy - float(base.mean()),
            "difference_interval": mean_interval(right - base, resamples),
            "gains": int((right > base).sum()),
            "losses": int((base > right).sum()),
        }
        if not is_repeated:
            facts |= {"chance": mcnemar(right, base), "test": "McNemar"}
    return Standing(setup, **facts)


def over_seeds(setup: Setup, first: Setup, metric: str) -> float | None:
    """The p-value of the paired test over the seeds that both setups have."""
    own, others = ({run.seed: run.score(metric) for run in one.runs} for one in (setup, first))
    pairs = [(own[seed], others[seed]) for seed in own if seed in others]
    known = [(one, other) for one, other in pairs if one is not None and other is not None]
    return paired_t([one for one, _ in known], [other for _, other in known])
