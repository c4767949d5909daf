"""expkit: declarative experiments in image classification."""

from importlib.metadata import version

__version__ = version("expkit")
