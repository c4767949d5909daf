"""expkit: declarative experiments in image classification."""

from expkit.api import Result, compose, load, run

__all__ = ["Result", "compose", "load", "run"]
__version__ = "0.1.0"
