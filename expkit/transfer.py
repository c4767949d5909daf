"""Transfer recipes: a training run as a list of phases, each saying what trains and for how long."""

from dataclasses import dataclass

from expkit.check import checked


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one schedule over it."""

    name: str
    epochs: int
    trains: int | None = None
    """How many of the last layer groups train; None: all."""


@checked
def scratch(epochs: int) -> list[Phase]:
    """One phase in which every layer trains for `epochs` epochs."""
    return [Phase("train", epochs)]
