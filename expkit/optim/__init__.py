"""Optimizers: config functions that give an `Optimizer` for the layer groups of a model."""

from expkit.optim.own import lamb, nadam, radam, rmsprop
from expkit.optim.stock import adadelta, adagrad, adam, sgd, torch
from expkit.optim.values import even_multiples, group_values

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "even_multiples",
    "group_values",
    "lamb",
    "nadam",
    "radam",
    "rmsprop",
    "sgd",
    "torch",
]
