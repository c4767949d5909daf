"""`Optimizer`: a torch optimizer that knows layer groups, live hyperparameters and freezing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from expkit.check import nearest
from expkit.errors import UserError
from expkit.optim.groups import Layered, SplitGroup, split_groups
from expkit.optim.state import load_state, saved_state
from expkit.optim.values import TrainBN, group_values

Group = dict[str, Any]
Schedule = Callable[[float], float]


@dataclass(frozen=True)
class Place:
    """Where a torch optimizer keeps a hyperparameter within its parameter groups."""

    read: Callable[[Group], float]
    write: Callable[[Group, float], None]


class Optimizer:
    """Steps the parameters of a model's layer groups, each group with its own hyperparameters.

    `groups` names the layer groups, `hypers` the hyperparameters and `columns` the numbers that `read` gives (`lr_0`,
    `lr_1`, ...); `torch` is the optimizer inside. Values are read from its parameter groups: those are what acts. Hooks
    registered on it are not called, and its steps stay out of torch's profiler: noting them takes 20 microseconds each.
    """

    def __init__(
        self,
        model: Layered,
        build: Callable[[list[Group]], torch.optim.Optimizer],
        places: Mapping[str, Place],
        values: Mapping[str, Any],
        *,
        before_step: Sequence[Callable[[torch.optim.Optimizer], None]] = (),
        wd_bn_bias: bool = False,
        train_bn: TrainBN = True,
    ) -> None:
        """Split the layer groups of `model` by weight decay and let `build` make the torch optimizer from the parts.

        `places` says where that keeps each hyperparameter, `values` gives each in any form of `group_values`, and
        `before_step` is done to the torch optimizer before each of its steps.
        Raises UserError for values that do not fit the groups.
        """
        self.split = split_groups(model, wd_bn_bias)
        self.groups = [group.name for group in self.split]
        self.all_parameters = [parameter for group in self.split for parameter in group.parameters.values()]
        self.hypers = tuple(places)
        self.columns = [f"{name}_{i}" for name in places for i in range(len(self.groups))]
        self.train_bn = train_bn
        self.body_bn: TrainBN | None = None
        """What the norms of all groups but the last do; None: those of frozen groups what `train_bn` says."""
        self.frozen = 0
        self.places = dict(places)
        self.parts: list[list[Group]] = [parts_of(group) for group in self.split]
        for group in (group for parts in self.parts for group in parts):
            for name, place in places.items():
                place.write(group, 0.0 if name == "wd" else 1.0)
        for name in places:
            self.set(name, group_values(values[name], self.groups, f"optim.{name}"))
        self.build = build
        self.before_step = before_step
        self.clear_state()
        self.readers = [(self.places[name].read, parts[0]) for name in places for parts in self.parts]

    def get(self, name: str) -> list[float]:
        """The live values of a hyperparameter, one per layer group (weight decay: of the parameters that decay)."""
        place = self.place(name)
        return [place.read(parts[0]) for parts in self.parts]

    def set(self, name: str, values: Sequence[float]) -> None:
        """Set a hyperparameter, one value per layer group; biases and norms stay spared from weight decay.

        Raises UserError for a name that this optimizer has not, or another number of values.
        """
        place = self.place(name)
        if len(values) != len(self.groups):
            raise UserError(
                f"{name} needs a value for each of the layer groups {', '.join(self.groups)}, got {len(values)}"
            )
        for i, value in enumerate(values):
            for group in self.targets(name, i):
                place.write(group, value)

    def read(self) -> list[float]:
        """All live values in the order of `columns`."""
        return [read(group) for read, group in self.readers]

    def follow(self, schedules: Mapping[str, Schedule | Sequence[Schedule]]) -> Callable[[float], None]:
        """A function that sets all scheduled hyperparameters to their values at progress t, fast enough for each step.

        `schedules` holds a schedule for all groups or a list, one per group, for each hyperparameter. Momentum is
        passed over where the optimizer has none: policies schedule it whatever the optimizer.
        Raises UserError for any other name that the optimizer has not, or a list of another length.
        """
        writes: list[tuple[Schedule, Callable[[Group, float], None], list[Group]]] = []
        for name, given in schedules.items():
            if name == "mom" and "mom" not in self.hypers:
                continue
            write = self.place(name).write
            targets = [self.targets(name, i) for i in range(len(self.groups))]
            if callable(given):
                writes.append((given, write, [group for groups in targets for group in groups]))
            elif len(given) == len(targets):
                writes += [(schedule, write, groups) for schedule, groups in zip(given, targets, strict=True)]
            else:
                names = ", ".join(self.groups)
                raise UserError(f"sched: {name} needs a schedule for each of the groups {names}, got {len(given)}")

        def set_all(t: float) -> None:
            for schedule, write, groups in writes:
                value = schedule(t)
                for group in groups:
                    write(group, value)

        return set_all

    def step(self) -> None:
        """Update every parameter that has a gradient; frozen ones have none.

        Raises UserError where an optimizer of torch refuses to.
        """
        for prepare in self.before_step:
            prepare(self.torch)
        try:
            self.unnoted_step(self.torch)
        except (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            is_torchs = type(self.torch).__module__.startswith("torch.optim")
            if not is_torchs or isinstance(error, torch.OutOfMemoryError | torch.AcceleratorError):
                raise
            raise UserError(
                f"torch.optim.{type(self.torch).__name__} refused to step: {error}; change optim.options, or choose "
                "another optim"
            ) from error

    def zero_grad(self) -> None:
        """Drop all gradients; torch's own also notes the call for its profiler, which takes longer."""
        for parameter in self.all_parameters:
            parameter.grad = None

    def freeze_to(self, n: int, body_bn: TrainBN | None = None) -> None:
        """Train the layer groups from the n-th on (negative: counted from the last) and freeze those before.

        Norm layers of frozen groups go on training where `train_bn` is true; `body_bn` says in its place what those of
        all groups but the last do. What trains from here on begins with averages of 0, as in fastai.
        Raises UserError where no group would be left to train.
        """
        first = n if n >= 0 else len(self.split) + n
        if not 0 <= first < len(self.split):
            raise UserError(f"freeze_to({n}) leaves nothing to train: the layer groups are {', '.join(self.groups)}")
        self.require_grads(first, body_bn)
        self.clear_state()

    def require_grads(self, first: int, body_bn: TrainBN | None = None) -> None:
        """Let gradients flow into the groups from `first` on, and into those norms that train."""
        self.frozen, self.body_bn = first, body_bn
        for i, group in enumerate(self.split):
            norms, learn = {id(p) for norm in group.norms for p in norm.parameters()}, self.bn_of(i) is True
            for parameter in group.parameters.values():
                parameter.requires_grad_(learn if id(parameter) in norms else i >= first)
                if not parameter.requires_grad:
                    # A gradient left from before, even of zeros, would let momentum move the parameter.
                    parameter.grad = None

    def bn_of(self, number: int) -> TrainBN:
        """What the norms of a layer group do."""
        if self.body_bn is not None and number < len(self.split) - 1:
            return self.body_bn
        return self.train_bn if number < self.frozen else True

    def freeze(self) -> None:
        """Train the last layer group alone; raises UserError where there is no other."""
        if len(self.split) == 1:
            raise UserError(f"a model with one layer group ({self.groups[0]}) has nothing to freeze")
        self.freeze_to(-1)

    def unfreeze(self) -> None:
        """Train all layer groups."""
        self.freeze_to(0)

    def resting(self, *, norms: bool) -> list[int]:
        """The numbers of the frozen groups in which nothing trains; `norms` says whether theirs may."""
        learn = [norms and any(p.requires_grad for p in group.parameters.values()) for group in self.split]
        return [number for number in range(self.frozen) if not learn[number]]

    def norms_alone(self, first: int, body_bn: TrainBN | None = None) -> list[str]:
        """The layer groups before the `first` that is not frozen of which the norms train."""
        learn = (self.train_bn if body_bn is None else body_bn) is True
        has_norms = [any(True for norm in group.norms for _ in norm.parameters()) for group in self.split]
        return [self.groups[number] for number in range(first) if has_norms[number] and learn]

    def clear_state(self) -> None:
        """Forget all averages of gradients and counts of steps; hyperparameters stay.

        The torch optimizer is made anew, since some of them fill their state only then. It holds on to the very dicts
        of `parts`, into which `set` and `follow` write.
        """
        self.torch = self.build([group for parts in self.parts for group in parts])
        self.unnoted_step = unnoted(type(self.torch).step)

    def set_train_mode(self, model: nn.Module) -> None:
        """Put `model` in training mode, except for the norms in which nothing is to move."""
        model.train()
        for number, group in enumerate(self.split):
            if self.bn_of(number) == "eval":
                for norm in group.norms:
                    norm.eval()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: tensors and plain values by parameter and group name."""
        # A schedule of the user may have left numpy's numbers, which a weights-only load refuses.
        values = {name: [float(value) for value in self.get(name)] for name in self.hypers}
        return saved_state(self.torch, self.split) | {"hypers": values, "frozen": self.frozen}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave, freezing included.

        Raises UserError, saying how, where the optimizer or its layer groups changed since.
        """
        load_state(self.torch, self.split, saved)
        for name, values in saved["hypers"].items():
            self.set(name, values)
        self.require_grads(saved["frozen"])

    def place(self, name: str) -> Place:
        """Where the hyperparameter `name` is kept; raises UserError where the optimizer has no such."""
        if name not in self.places:
            raise UserError(f"{type(self.torch).__name__} has no hyperparameter {name!r}; {nearest(name, self.hypers)}")
        return self.places[name]

    def targets(self, name: str, i: int) -> list[Group]:
        """The torch parameter groups in which a hyperparameter of the i-th layer group acts."""
        group = self.split[i]
        if name != "wd" or not group.parameters:
            return self.parts[i]
        return self.parts[i][:1] if group.decayed else []


def unnoted(step: Callable[..., Any]) -> Callable[..., Any]:
    """A torch optimizer's step without what torch wraps around it, and marks as `hooked`: its profiler and hooks."""
    if not getattr(step, "hooked", False):
        return step
    inner: Callable[..., Any] = step.__wrapped__  # type: ignore[attr-defined]  # set by functools.wraps
    return inner


def parts_of(group: SplitGroup) -> list[Group]:
    """The torch parameter groups of a layer group: decayed parameters, then spared ones; at least one, maybe empty."""
    parts = [list(part.values()) for part in (group.decayed, group.spared) if part]
    return [{"params": part} for part in parts or [[]]]
