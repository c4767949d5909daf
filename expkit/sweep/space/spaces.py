"""What a sweep searches: which values each key of the config may have in a trial."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Value = bool | int | float | str
"""What a key of the space is in a trial: a number, or for a choice the text of an override."""


@dataclass(frozen=True)
class Choice:
    """One of several values, among them whole choices of a config group."""

    values: tuple[Value, ...]
    """Numbers and truth values as they are, everything else as an override writes it: `sgd`, `{stop:0.1}`."""
    plain: tuple[Any, ...]
    """The same values as the config then holds them."""

    def index(self, value: object) -> int | None:
        """Which of the values the config's `value` is, None where it is none of them."""
        alike = [type(one) is type(value) and one == value for one in self.plain]
        return alike.index(True) if True in alike else None

    def __str__(self) -> str:
        return f"choice({', '.join(map(text_of, self.values))})"


@dataclass(frozen=True)
class Numbers:
    """A number from `low` to `high`, both possible; whole where both are; even on a logarithmic scale with `log`."""

    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int)

    def holds(self, value: object) -> bool:
        """Whether the config's `value` is one of the numbers."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        steps = (value - self.low) / self.step if self.step else 0
        return self.low <= value <= self.high and math.isclose(steps, round(steps), abs_tol=1e-9)

    def grid(self) -> list[int | float] | None:
        """All of the numbers, None where they are too many to name."""
        if self.step is None and not self.whole:
            return None
        step = self.step or 1
        return [self.low + step * index for index in range(round((self.high - self.low) / step) + 1)]

    def __str__(self) -> str:
        if self.step is not None and not (self.whole and self.step == 1 and self.log):
            body = f"range({self.low}, {self.high + self.step}, {self.step})"
        else:
            body = f"interval({self.low}, {self.high})"
            body = f"int({body})" if self.whole else body
        return f"tag(log, {body})" if self.log else body


@dataclass(frozen=True)
class Around:
    """Numbers within a factor around what the LR finder suggests; known once it has run on the base config."""

    factor: float

    def numbers(self, suggestion: float) -> Numbers:
        """The logarithmic interval from suggestion / factor to suggestion * factor."""
        return Numbers(suggestion / self.factor, suggestion * self.factor, log=True)

    def __str__(self) -> str:
        return f"{{around: lr_find, factor: {self.factor:g}}}"


Space = Choice | Numbers | Around


@dataclass(frozen=True)
class Param:
    """One key of the config and its space."""

    key: str
    """As on the command line, without a plus sign."""
    space: Space
    prefix: str = ""
    """`+` or `++` where the override adds the key."""

    def override(self, value: Value) -> str:
        """What the command line says for this value."""
        return f"{self.prefix}{self.key}={text_of(value)}"


@dataclass(frozen=True)
class Search:
    """What varies, and the overrides that all trials share."""

    params: tuple[Param, ...]
    fixed: tuple[str, ...]

    @property
    def keys(self) -> set[str]:
        """What the command line and the sweep's file say something of."""
        return {param.key for param in self.params} | {bare(text.partition("=")[0]) for text in self.fixed}

    @property
    def searches_lr(self) -> bool:
        """Whether a space lies around what the LR finder suggests."""
        return any(isinstance(param.space, Around) for param in self.params)


def bare(key: str) -> str:
    """A key without the signs by which an override adds or deletes it."""
    return key.lstrip("+~")


def text_of(value: object) -> str:
    """A plain value as an override writes it; text stays as it is, so that a config can hold the grammar."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{text_of(one)}" for key, one in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(map(text_of, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return value if isinstance(value, str) else repr(value)
