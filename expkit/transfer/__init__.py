"""The `transfer` group: a training run as phases, each saying what trains, for how long and how."""

from expkit.transfer.phases import Phase, Recipe, phase, recipe

__all__ = ["Phase", "Recipe", "phase", "recipe"]
