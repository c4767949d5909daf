"""The validation images that all runs have said something of, and who told which of them rightly."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from expkit.comparison.configs import Setup
from expkit.comparison.runs import Compared
from expkit.errors import UserError, first_ten
from expkit.record.predictions import Predictions
from expkit.words import many

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Shared:
    """N images with what K runs, of S setups, said of each."""

    setups: Sequence[Setup]
    """Those of which a run has predictions."""
    runs: Sequence[Compared]
    names: Sequence[str]
    """The letters of the runs."""
    files: Sequence[str]
    rows: Numbers
    """The place of each image among the validation images of the first run."""
    classes: tuple[str, ...]
    labels: Numbers
    guesses: Numbers
    """K x N, as numbers of `classes`."""
    losses: Floats
    """K x N."""

    @cached_property
    def right(self) -> Floats:
        """S x N: the share of a setup's runs that tell the image rightly, of a single run 0 or 1."""
        told = (self.guesses == self.labels).astype(np.float64)
        of = np.array([self.setup_of(run) for run in self.runs])
        return np.stack([told[of == number].mean(axis=0) for number in range(len(self.setups))])

    def setup_of(self, run: Compared) -> int:
        """The number of a run's setup."""
        return next(number for number, setup in enumerate(self.setups) if any(one is run for one in setup.runs))

    @cached_property
    def changed(self) -> Numbers:
        """The images that setups disagree on: first those that divide them most, of these the widest apart in loss."""
        spread, gap = self.right.std(axis=0), np.ptp(self.losses, axis=0)
        order = np.lexsort((-gap, -np.round(spread, 9)))
        found: Numbers = order[np.ptp(self.right, axis=0)[order] > 0]
        return found

    @cached_property
    def recalls(self) -> dict[int, Floats]:
        """The share of each class's images that each setup tells rightly, classes that divide them most first."""
        present = np.unique(self.labels)
        by_class = {int(label): self.right[:, self.labels == label].mean(axis=1) for label in present}
        return dict(sorted(by_class.items(), key=lambda one: -np.ptp(one[1])))

    @property
    def differing(self) -> dict[int, Floats]:
        """Those of `recalls` that divide the setups at all."""
        return {label: values for label, values in self.recalls.items() if np.ptp(values) > 0}

    def said(self, image: int) -> dict[str, list[str]]:
        """What an image was taken for, each class with the letters of the runs that say so; the label first."""
        found: dict[str, list[str]] = {self.classes[self.labels[image]]: []}
        for name, guess in zip(self.names, self.guesses[:, image].tolist(), strict=True):
            found.setdefault(self.classes[guess], []).append(name)
        return {name: letters for name, letters in found.items() if letters}


def check_classes(runs: Sequence[Compared]) -> None:
    """Raise UserError for runs that tell other classes apart, of which one is no better than the other."""
    known = [run for run in runs if run.classes is not None]
    for run in known[1:]:
        first, other = set(known[0].classes or ()), set(run.classes or ())
        if first != other:
            lacking = sorted(first ^ other)
            raise UserError(
                f"{known[0].folder.path} tells {many(len(first), 'class', 'classes')} apart and {run.folder.path} "
                f"{len(other)}, so their scores do not compare; one alone knows:\n{first_ten(lacking)}\n"
                "Compare runs of the same classes; task=evaluate with task.classes=common scores each on those of both"
            )


def shared_by(setups: Sequence[Setup], notes: list[str]) -> Shared | None:
    """The images of the runs that have predictions; None where fewer than two setups have any, or none is shared.

    Where most setups were validated on the same images, these count, and of them those setups alone. Whatever is not
    compared is told in `notes`.
    """
    lacking = [setup.name_of(run) for setup in setups for run in setup.runs if run.found is None]
    if lacking:
        notes.append(
            f"{listed(lacking)} left no predictions, as trials of earlier versions did not, so "
            f"{'it is' if len(lacking) == 1 else 'they are'} compared by scores alone."
        )
    kept = [setup for setup in setups if any(run.found is not None for run in setup.runs)]
    return images_of(alike(kept), notes) if len(kept) > 1 else None


def alike(setups: Sequence[Setup]) -> Sequence[Setup]:
    """The most setups that were validated on the same images, by name and label; all, where no two were."""
    groups: dict[frozenset[tuple[str, str]], list[Setup]] = {}
    for setup in setups:
        tables = [found_of(run) for run in setup.runs if run.found is not None]
        groups.setdefault(frozenset.intersection(*(frozenset(keys_of(table)) for table in tables)), []).append(setup)
    most = max(groups.values(), key=len)
    return most if len(most) > 1 else setups


def images_of(setups: Sequence[Setup], notes: list[str]) -> Shared | None:
    """The images that all runs of some setups have, where they have predictions; None where there is none."""
    pairs = [(setup.name_of(run), run) for setup in setups for run in setup.runs if run.found is not None]
    runs = [run for _, run in pairs]
    classes = runs[0].classes or ()
    tables = [found_of(run) for run in runs]
    places = places_of(tables, [name for name, _ in pairs], runs, notes)
    if not len(places[0]):
        return None
    number = {name: index for index, name in enumerate(classes)}
    guesses = []
    for table, own in zip(tables, places, strict=True):
        renumbered = np.array([number[name] for name in table.classes])
        guesses.append(renumbered[table.guesses[own]])
    return Shared(
        setups,
        runs,
        [name for name, _ in pairs],
        [tables[0].files[row] for row in places[0].tolist()],
        places[0],
        classes,
        tables[0].labels[places[0]],
        np.stack(guesses),
        np.stack([table.losses[own] for table, own in zip(tables, places, strict=True)]),
    )


def found_of(run: Compared) -> Predictions:
    """The predictions of a run that has them."""
    assert run.found is not None
    return run.found


def places_of(
    tables: Sequence[Predictions], names: Sequence[str], runs: Sequence[Compared], notes: list[str]
) -> list[Numbers]:
    """Where the images that all tables share lie in each of them; notes say how they differ."""
    keys = [keys_of(table) for table in tables]
    odd = [name for name, run in zip(names, runs, strict=True) if run.fingerprint != runs[0].fingerprint]
    if all(one == keys[0] for one in keys):
        if odd:
            notes.append(
                f"{listed(odd)} had other data than {names[0]} (another fingerprint), such as more training images or "
                f"other pixels: the {len(keys[0])} validation images, alike by name and label, are taken for the same."
            )
        return [np.arange(len(keys[0]))] * len(tables)
    where = [{key: place for place, key in reversed(list(enumerate(one)))} for one in keys]
    common = [key for key in where[0] if all(key in one for one in where[1:])]
    by_name = set(tables[0].files).intersection(*(table.files for table in tables[1:]))
    relabelled = len(by_name) - len({file for file, _ in common})
    other = f" ({many(relabelled, 'image has', 'images have')} another label in one of them)" if relabelled else ""
    what = (
        f"the {many(len(common), 'image', 'images')} that all have, by name and label, are compared{other}."
        if common
        else f"no image is in all of them by name and label{other}, so there is no comparison by image, and scores on "
        "different images say little."
    )
    counts = " and ".join(dict.fromkeys(str(len(one)) for one in keys))
    notes.append(f"The runs were validated on different images ({counts} of them): {what}")
    return [np.array([one[key] for key in common], np.int64) for one in where]


def keys_of(table: Predictions) -> list[tuple[str, str]]:
    """The name of each image with its label in words."""
    labels: list[str] = np.array(table.classes, dtype=object)[table.labels].tolist()
    return list(zip(table.files, labels, strict=True))


def listed(names: Sequence[object]) -> str:
    """A, B and C; of many the first ones."""
    told = [str(name) for name in names[:8]]
    if len(names) > len(told):
        return f"{', '.join(told)} and {len(names) - len(told)} more"
    return " and ".join([", ".join(told[:-1]), told[-1]]) if len(told) > 1 else "".join(told)
