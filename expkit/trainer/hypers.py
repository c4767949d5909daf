"""Everything that a schedule can set while a model trains, and that the traces record."""

import math
import re
from collections.abc import Callable

from torch import nn

from expkit.check import nearest
from expkit.errors import UserError
from expkit.optim.optimizer import Optimizer
from expkit.sched import Schedule, Schedules

OWN = ("label_smoothing", "dropout")
"""What belongs to no layer group: the loss's label smoothing, and the share that every dropout layer drops."""

TOPS = {"mom": 1.0, "sqr_mom": 1.0, "label_smoothing": 1.0, "dropout": 1.0}
"""What these stay below; others may be any number of 0 or more."""
ROUNDING = 1e-9
"""So far below 0 a schedule may end that rises from it or falls to it."""


class Hypers:
    """The optimizer's hyperparameters together with label smoothing and dropout.

    `columns` names the numbers that `read` gives: `lr_0`, `lr_1`, ..., then those of `OWN`; dropout is that of the
    last dropout layer, 0 where the model has none.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, label_smoothing: float = 0.0) -> None:
        self.optimizer = optimizer
        self.label_smoothing = label_smoothing
        self.dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout)]
        self.columns = [*optimizer.columns, *OWN]
        self.tracked = {"lr", "mom", "wd"}
        """What tracking shows: these always, others once a schedule moves them."""
        self.configured = {name: optimizer.get(name) for name in optimizer.hypers}
        self.smoothing = label_smoothing
        self.shares = [module.p for module in self.dropouts]
        self.resting: list[int] = []
        """The columns of layer groups in which nothing trains."""

    def reset(self) -> None:
        """Set everything as the config has it: what one phase schedules says nothing of the next."""
        for name, values in self.configured.items():
            self.optimizer.set(name, values)
        self.label_smoothing = self.smoothing
        for module, share in zip(self.dropouts, self.shares, strict=True):
            module.p = share

    def rest(self, *, norms: bool) -> None:
        """Take in which layer groups are frozen: where not even norms train, which `norms` allows, no value acts."""
        groups, idle = len(self.optimizer.groups), self.optimizer.resting(norms=norms)
        self.resting = [place + number for place in range(0, len(self.optimizer.columns), groups) for number in idle]

    def read(self) -> list[float]:
        """All values as they are, in the order of `columns`; NaN for layer groups in which nothing trains."""
        values = self.optimizer.read()
        for place in self.resting:
            values[place] = math.nan
        values.append(self.label_smoothing)
        values.append(self.dropouts[-1].p if self.dropouts else 0.0)
        return values

    def check(self, schedules: Schedules) -> None:
        """Raise UserError where schedules do not fit, or lead to values with which no step can be taken."""
        apply = self.follow(schedules)
        for t in (*(i / 20 for i in range(20)), 0.999):
            apply(t)
            for column, value in zip(self.columns, self.read(), strict=True):
                top = TOPS.get(hyper_of(column), math.inf)
                if hyper_of(column) in schedules and not -ROUNDING <= value < top:
                    below = "" if top == math.inf else f" and below {top:g}"
                    raise UserError(f"sched: {column} is {value:.3g} at progress {t:g}; it must be at least 0{below}")
        self.reset()

    def follow(self, schedules: Schedules) -> Callable[[float], None]:
        """A function that sets everything scheduled to its value at progress t.

        Raises UserError for names that nothing here has, lists of another length than the layer groups, and lists
        for what belongs to no group.
        """
        self.tracked.update(schedules)
        known = (*self.optimizer.hypers, *OWN, "mom")
        for name in schedules:
            if name not in known:
                raise UserError(
                    f"sched: {name!r} is nothing that this optimizer or trainer has; {nearest(name, known)}"
                )
        follow_optimizer = self.optimizer.follow({name: one for name, one in schedules.items() if name not in OWN})
        own = {name: single(name, schedules[name]) for name in OWN if name in schedules}
        if not own:
            return follow_optimizer

        def set_all(t: float) -> None:
            follow_optimizer(t)
            if "label_smoothing" in own:
                self.label_smoothing = own["label_smoothing"](t)
            if "dropout" in own:
                share = own["dropout"](t)
                for module in self.dropouts:
                    module.p = share

        return set_all


def single(name: str, given: Schedule | list[Schedule]) -> Schedule:
    """The one schedule for what belongs to no layer group. Raises UserError for a list."""
    if isinstance(given, list):
        raise UserError(
            f"sched: {name} belongs to no layer group, so it takes one schedule, not a list of {len(given)}"
        )
    return given


def hyper_of(column: str) -> str:
    """The hyperparameter that a column of the traces belongs to: `lr_0` is an `lr`, `dropout` is itself."""
    return re.sub(r"_\d+$", "", column)
