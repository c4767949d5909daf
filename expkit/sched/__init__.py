"""Schedules: functions of training progress t in [0, 1) for any hyperparameter, and the policies that name them."""

from expkit.sched.annealers import (
    Schedule,
    annealer,
    combine,
    combined_cosine,
    constant,
    cosine,
    exponential,
    linear,
    polynomial,
)
from expkit.sched.custom import custom
from expkit.sched.policies import (
    Schedules,
    WrongEpochs,
    constant_lr,
    flat_cos,
    one_cycle,
    sgdr,
    sgdr_epochs,
    with_warmup,
)

__all__ = [
    "Schedule",
    "Schedules",
    "WrongEpochs",
    "annealer",
    "combine",
    "combined_cosine",
    "constant",
    "constant_lr",
    "cosine",
    "custom",
    "exponential",
    "flat_cos",
    "linear",
    "one_cycle",
    "polynomial",
    "sgdr",
    "sgdr_epochs",
    "with_warmup",
]
