"""Transfer recipes: a training run as phases, one after the other, each saying what trains, for how long and how.

A recipe is a config: `phases` maps the name of each phase, in order, to the keyword arguments of `phase`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import MinLen

from expkit.check import Count, Fraction, NotNegativeInt, Positive, check_arguments, checked, checks_arguments
from expkit.errors import UserError
from expkit.optim.values import TrainBN, group_values
from expkit.words import many

if TYPE_CHECKING:
    from expkit.optim.optimizer import Optimizer

Rate = Positive | str
"""A learning rate, or one relative to another: `lr / 2`, `auto * 10`."""
Rates = Rate | Sequence[Rate] | Mapping[Literal["start", "stop"], Rate]
RELATIVE = re.compile(r"(lr|auto)((?:\s*[*/]\s*(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)*)")
FACTOR = re.compile(r"([*/])\s*([^\s*/]+)")


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one schedule over it; `phase` says what the fields mean."""

    name: str
    epochs: int
    trains: int | None = None
    """How many of the last layer groups train; None: all."""
    lr: Any = None
    sched: Mapping[str, Any] | None = None
    augment: Mapping[str, Any] | Literal[False] | None = None
    precompute: bool = False
    views: int | None = None
    train_bn: TrainBN | None = None

    @property
    def searches(self) -> bool:
        """Whether the LR finder runs before the phase."""
        lr = self.lr.values() if isinstance(self.lr, Mapping) else self.lr
        rates = [lr] if isinstance(lr, str | float | int | None) else lr
        return any(isinstance(rate, str) and rate.strip().startswith("auto") for rate in rates)

    def first(self, groups: Sequence[str]) -> int:
        """The first of the layer groups named by `groups` that trains. Raises UserError where there are too few."""
        if self.trains is None:
            return 0
        if self.trains > len(groups):
            raise UserError(
                f"transfer.phases.{self.name}.trains={self.trains}, but the model has {len(groups)} layer groups "
                f"({', '.join(groups)}); give at most that"
            )
        return len(groups) - self.trains

    def rates(self, base: Sequence[float], groups: Sequence[str], found: float | None = None) -> list[float]:
        """The peak learning rate of each of the layer groups named by `groups`.

        `base` are those of the run, `found` is what the LR finder gave before this phase (needed where it searches).
        Raises UserError for a list of another length than the groups.
        """
        if self.lr is None:
            return list(base)
        key = f"transfer.phases.{self.name}.lr"
        if self.lr == "auto":  # as far apart as the run's own
            assert found is not None
            return [found * rate / base[-1] for rate in base]
        return group_values(absolute(self.lr, {"lr": base[-1], "auto": found}, key), groups, key)


def absolute(lr: Any, known: Mapping[str, float | None], key: str) -> Any:
    """Learning rates in one of the forms of `group_values`, with numbers in place of what is relative to `known`."""
    if isinstance(lr, Mapping):
        return {name: absolute(value, known, f"{key}.{name}") for name, value in lr.items()}
    if isinstance(lr, str):
        match = RELATIVE.fullmatch(lr.strip())
        if match is None:
            raise UserError(
                f"{key} must be a number, or one relative to optim.lr such as 'lr / 2', or auto; got {lr!r}"
            )
        rate = known[match[1]]
        assert rate is not None
        for sign, number in FACTOR.findall(match[2]):
            if float(number) == 0:
                raise UserError(f"{key}={lr!r} has a factor of 0; give another number")
            rate = rate * float(number) if sign == "*" else rate / float(number)
        return rate
    return [absolute(value, known, f"{key}[{i}]") for i, value in enumerate(lr)] if isinstance(lr, Sequence) else lr


@dataclass(frozen=True)
class Recipe:
    """The phases of a run, and over how many augmented views its final evaluation averages."""

    phases: tuple[Phase, ...]
    tta: int = 0

    @property
    def starts(self) -> dict[str, int]:
        """After how many epochs each phase begins, by name."""
        ends = accumulate((phase.epochs for phase in self.phases), initial=0)
        return {phase.name: start for phase, start in zip(self.phases, ends, strict=False)}

    def phase_of(self, epoch: int) -> Phase:
        """The phase that an epoch of the run, from 1, belongs to."""
        return next(phase for phase in reversed(self.phases) if self.starts[phase.name] < epoch)

    def norms_alone(self, optimizer: "Optimizer") -> dict[str, list[str]]:
        """The layer groups that are frozen but for their norms, by the name of the phase in which they are."""
        found = {
            phase.name: optimizer.norms_alone(phase.first(optimizer.groups), phase.train_bn)
            for phase in self.phases
            if not phase.precompute
        }
        return {name: groups for name, groups in found.items() if groups}

    @property
    def precomputes(self) -> bool:
        """Whether a phase reads precomputed features."""
        return any(phase.precompute for phase in self.phases)

    @property
    def all_frozen(self) -> bool:
        """Whether every phase reads precomputed features, so that nothing but the head is ever run."""
        return all(phase.precompute for phase in self.phases)


@checked
def recipe(
    epochs: int, *, phases: Annotated[Mapping[str, Mapping[str, Any]], MinLen(1)], tta: NotNegativeInt = 0
) -> Recipe:
    """A run of `epochs` epochs in phases.

    Args:
        epochs: epochs of all phases together.
        phases: name -> the keyword arguments of `phase`, in the order of training.
        tta: over how many augmented views of each validation image the final evaluation averages; 0: none.

    Raises UserError for phases that do not fill the epochs, or that precompute features which will not stay frozen.
    """
    nodes = {name: check_arguments(phase, node, f"transfer.phases.{name}") for name, node in phases.items()}
    lengths = fill(epochs, {name: node["epochs"] for name, node in nodes.items()})
    made = tuple(phase(name, lengths[name], **node) for name, node in nodes.items())
    check_precomputed(made)
    return Recipe(made, tta)


@checks_arguments
def phase(
    name: str,
    length: int,
    *,
    epochs: Count | Fraction | Literal["rest"] = "rest",
    trains: Literal["all", "head"] | Count = "all",
    lr: Rates | None = None,
    sched: Mapping[str, Any] | None = None,
    augment: Mapping[str, Any] | Literal[False] | None = None,
    precompute: bool = False,
    views: Count | None = None,
    train_bn: TrainBN | None = None,
) -> Phase:
    """One phase of a recipe, called `name`, `length` epochs long.

    Args:
        name: what the phase is called in messages and overrides.
        length: its epochs, also where `epochs` leaves them open.
        epochs: how long it is; below 1: that share of the run's epochs, rounded, and one at least; "rest": what the
            other phases leave (for one phase at most).
        trains: "all" layer groups, the "head", or so many of the last groups; the others are frozen.
        lr: peak learning rates; None: those of optim.lr. Else a number, a list with one per layer group, {stop: b},
            {start: a, stop: b}; numbers may be relative to the head's optim.lr ("lr / 2"), or to what the LR finder
            suggests, which then runs before the phase ("auto", "auto / 10").
        sched: keys that replace those of the run's schedule, or a whole other schedule with its `_target_`.
        augment: None: the run's augmentation; False: training images as in validation; keys that replace some of the
            run's, or a whole other augmentation with its `_target_`.
        precompute: train the head on features of the frozen body, computed once and kept in the cache.
        views: so many augmented views of each image are precomputed, and epoch e reads view e mod `views`.
        train_bn: norms of all layer groups but the head, frozen or not: true: they train; false: only their statistics
            move; eval: nothing moves. None: those of frozen groups as optim.train_bn says, others train.
    """
    last = {"all": None, "head": 1}[trains] if isinstance(trains, str) else trains
    return Phase(name, length, last, lr, sched, augment, precompute, views, train_bn)


def fill(epochs: int, wanted: Mapping[str, Any]) -> dict[str, int]:
    """The epochs of each phase by name, with a number in place of shares and of "rest".

    Raises UserError where they do not add up to `epochs`.
    """
    given = wanted.values()
    wanted = {name: length_in(epochs, length) for name, length in wanted.items()}
    open_ended = [name for name, length in wanted.items() if length == "rest"]
    fixed = sum(length for length in wanted.values() if length != "rest")
    if len(open_ended) > 1:
        raise UserError(f"transfer.phases: {' and '.join(open_ended)} both take the rest of the epochs; give numbers")
    if open_ended and epochs <= fixed:
        raise UserError(
            f"transfer.phases: epochs={epochs} leaves nothing for the phase {open_ended[0]}, since the others take "
            f"{fixed}; give epochs={fixed + 1} or more"
        )
    if not open_ended and epochs != fixed:
        sums = ((one, sum(length_in(one, length) for length in given)) for one in range(1, 2 * fixed + 1))
        fit = next((one for one, total in sums if total == one), None)  # shares alone need not come to any
        told = f"transfer.phases take {many(fixed, 'epoch', 'epochs')} together, but epochs={epochs}; give "
        raise UserError(told + (f"epochs={fit}" if fit else "one of them epochs: rest"))
    return {name: epochs - fixed if length == "rest" else length for name, length in wanted.items()}


def length_in(epochs: int, length: Any) -> Any:
    """The epochs of a phase in a run of so many, where it takes a share of them; else what was given."""
    return max(1, round(length * epochs)) if isinstance(length, float) else length


def check_precomputed(phases: Sequence[Phase]) -> None:
    """Raise UserError where precomputed features would not be those of the body at that time."""
    moved = None
    for one in phases:
        key = f"transfer.phases.{one.name}"
        if one.views is not None and not one.precompute:
            raise UserError(f"{key}.views is for precomputed features; set {key}.precompute=true or leave it out")
        if one.precompute and one.trains != 1:
            raise UserError(f"{key}.precompute trains the head alone; set {key}.trains=head")
        if one.precompute and moved:
            raise UserError(
                f"{key}.precompute comes after the phase {moved}, in which the body moves (its batch norms at least); "
                "put precomputed phases first"
            )
        moved = moved or (None if one.precompute else one.name)
