"""Samplers and pruners: built from their short names or from `_target_` nodes, and seeded trial by trial."""

import importlib.util
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from expkit import trust
from expkit.check import nearest
from expkit.errors import UserError
from expkit.randomness import seed_of
from expkit.sweep.space.settings import Settings
from expkit.sweep.space.spaces import Choice, Numbers, Search

SAMPLERS = {"tpe": "TPESampler", "gp": "GPSampler", "cmaes": "CmaEsSampler", "random": "RandomSampler"}
PRUNERS = {"median": "MedianPruner", "hyperband": "HyperbandPruner", "none": "NopPruner"}
MODULES = {"gp": ("scipy", "torch"), "cmaes": ("cmaes",)}
"""What a sampler needs besides optuna."""

Draw = Callable[[int], BaseSampler]
"""A sampler that draws from a seed."""


class SeededSampler(BaseSampler):
    """Draws the parameters of a trial from (seed, trial number) and the trials before it, and from nothing else.

    So a study that went on after a stop proposes what it would have proposed without, and never the same again.
    """

    def __init__(self, draw: Draw, seed: int) -> None:
        self.draw = draw
        self.seed = seed

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Begin a trial with a sampler of its own; Optuna's keep what they know in the study."""
        self.inner = self.draw(seed_of(self.seed, "sampler", trial.number) % 2**32)
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Which params are drawn together."""
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw these."""
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one of the others."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Let the sampler learn from the trial that it drew."""
        self.inner.after_trial(study, trial, state, values)


def make_sampler(settings: Settings, search: Search) -> SeededSampler:
    """The sampler that the settings name. Raises UserError where there is none, or it cannot search this space."""
    key, spec = "hydra.sweeper.sampler", settings.sampler
    if spec == "grid":
        check_grid(search, settings.conditions)
        spec = "random"  # for nothing: a grid's trials have all their values from the start
    if isinstance(spec, str):
        if spec not in SAMPLERS:
            raise UserError(f"{key}={spec} is no sampler; {nearest(spec, [*SAMPLERS, 'grid'])}")
        for module in MODULES.get(spec, ()):
            if importlib.util.find_spec(module) is None:
                raise UserError(f"{key}={spec} needs the module {module}: pip install {module}")
        if spec == "cmaes":
            check_numbers(search)
        spec = {"_target_": f"optuna.samplers.{SAMPLERS[spec]}", **quiet(spec)}
    if "seed" in spec:
        raise UserError(f"{key}.seed has no effect here; give hydra.sweeper.seed")
    return SeededSampler(builder(spec, BaseSampler, key), settings.seed)


def quiet(name: str) -> dict[str, bool]:
    """Keys that keep a sampler from warning of what was checked before."""
    return {"warn_independent_sampling": False} if name in ("gp", "cmaes") else {}


def check_grid(search: Search, conditions: str | None) -> None:
    """Raise UserError for a space that has no grid."""
    key = "hydra.sweeper.sampler=grid"
    if conditions is not None:
        raise UserError(f"{key} knows all points beforehand, so it has no place beside hydra.sweeper.conditions")
    for param in search.params:
        if not isinstance(param.space, Choice | Numbers) or axis(param.space) is None:
            raise UserError(
                f"{key} needs values that can be counted, but {param.key} is {param.space}; use choice or range"
            )


def axis(space: Choice | Numbers) -> Sequence[Any] | None:
    """The values of one param in a grid, None where it has too many."""
    return space.values if isinstance(space, Choice) else space.grid()


def check_numbers(search: Search) -> None:
    """Raise UserError where CMA-ES would leave a param to chance."""
    choices = [param.key for param in search.params if isinstance(param.space, Choice)]
    if choices:
        raise UserError(
            f"hydra.sweeper.sampler=cmaes searches numbers only, but {choices[0]} is a choice; use tpe or gp"
        )
    if len(search.params) < 2:
        raise UserError("hydra.sweeper.sampler=cmaes needs two numbers or more to search; use tpe or gp")


def make_pruner(settings: Settings, epochs: int) -> BasePruner:
    """The pruner that the settings name, for runs of `epochs` epochs. Raises UserError where there is none."""
    key, spec = "hydra.sweeper.pruner", settings.pruner
    if isinstance(spec, str):
        if spec not in PRUNERS:
            raise UserError(f"{key}={spec} is no pruner; {nearest(spec, PRUNERS)}")
        keys = {"max_resource": epochs * settings.repeats} if spec == "hyperband" else {}
        spec = {"_target_": f"optuna.pruners.{PRUNERS[spec]}", **keys}
    pruner: BasePruner = builder(spec, BasePruner, key)(0)
    return pruner


def builder(spec: Mapping[str, Any], base: type, key: str) -> Callable[[int], Any]:
    """A function of a seed that builds what a node names. Raises UserError for a node that nothing can be built of."""
    if "_target_" not in spec:
        raise UserError(f"{key} must be a short name or a node with _target_, got {dict(spec)}")
    cls = trust.resolve(str(spec["_target_"]), f"{key}._target_", ["optuna.samplers", "optuna.pruners"])
    if not (inspect.isclass(cls) and issubclass(cls, base)) or cls is optuna.samplers.GridSampler:
        instead = "; for a grid write grid" if cls is optuna.samplers.GridSampler else ""
        raise UserError(
            f"{key}._target_: {spec['_target_']} is no {base.__name__.removeprefix('Base').lower()}{instead}"
        )
    known = inspect.signature(cls).parameters
    arguments = {str(name): value for name, value in spec.items() if name != "_target_"}
    for name in arguments:
        if name not in known:
            raise UserError(f"{key}.{name} is no key of {spec['_target_']}; {nearest(name, known)}")

    def build(seed: int) -> Any:
        with warnings.catch_warnings():  # some of Optuna's samplers and arguments call themselves experimental
            warnings.simplefilter("ignore")
            return cls(**arguments, **({"seed": seed} if "seed" in known else {}))

    try:
        build(0)
    except (TypeError, ValueError, ImportError) as error:
        raise UserError(f"{key}: {spec['_target_']} refuses these keys: {error}") from None
    return build
