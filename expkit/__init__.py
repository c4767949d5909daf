"""expkit: declarative experiments in image classification."""

from expkit.api import Model, Result, compose, load, run

__all__ = ["Model", "Result", "compose", "load", "run"]
__version__ = "0.1.0"
