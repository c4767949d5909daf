"""The study: made or found again, its trials counted, those of dead workers run again."""

import math
import socket
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock, Timeout
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from expkit.errors import Unavailable, UserError, first_ten
from expkit.sweep.space.samplers import axis
from expkit.sweep.space.settings import Settings
from expkit.sweep.space.spaces import Around, Choice, Numbers, Search
from expkit.sweep.storage import Store

DEATHS = 3
"""So many workers of one command may die over a trial before the command ends."""
FAILED, WORKER, INTERRUPTED = "failed", "worker", "interrupted"
"""User attributes of a trial: why it failed, who runs it, whether a signal ended it."""
STOPPED = "stopped"
"""Likewise: what ended it that was not its own doing."""
AGAIN, DIED, BEFORE = "run_again_of", "died_with", "stopped_before"
"""Likewise: which numbers it had before, how often its worker died in each command (by the folder of the command's
workers), and what ended it before that was not its own doing."""
ORIGIN, GRID = "origin", "grid"
"""Likewise: what put it into the queue, and its point of a grid."""


@dataclass(frozen=True)
class Counted:
    """How far a study is."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int

    @property
    def finished(self) -> int:
        """Trials that will not be run again."""
        return self.complete + self.pruned + self.failed


def open_study(
    store: Store, name: str, direction: Literal["maximize", "minimize"], told: Mapping[str, Any]
) -> optuna.Study:
    """The study `name`, made where it is new, with what it searches.

    `told` says that: section -> key -> value, all plain. Raises UserError where a study of this name searched
    otherwise, with the difference.
    """
    with store.lock.held():
        study = optuna.create_study(
            study_name=name, storage=store.storage, direction=direction, load_if_exists=True, sampler=Unused()
        )
        before = study.user_attrs.get("searches")
        if before is None:
            study.set_user_attr("searches", told)
        elif problems := differences(before, told):
            raise UserError(
                f"the study {name} searched otherwise; give another hydra.sweeper.study_name, or take back:\n"
                + first_ten(problems)
            )
    return study


def unbind(store: Store, study: optuna.Study) -> None:
    """Leave open what a study searches where it has no trial: what kept it from its first one may be changed."""
    with store.lock.held():
        if not study.get_trials(deepcopy=False):
            study.set_user_attr("searches", None)


class Unused(optuna.samplers.RandomSampler):
    """Stands for a sampler where no trial is drawn."""


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed between two nested mappings, a line for each key."""
    lines: list[str] = []
    for section in {**before, **now}:
        old, new = before.get(section, {}), now.get(section, {})
        for key in {**old, **new}:
            if old.get(key) != new.get(key) or (key in old) != (key in new):
                was = repr(old[key]) if key in old else "nothing"
                lines.append(f"{section}: {key} was {was}, is now {repr(new[key]) if key in new else 'nothing'}")
    return lines


def join_study(store: Store, name: str, sampler: BaseSampler, pruner: BasePruner) -> optuna.Study:
    """The study of this name, to take trials from."""
    return optuna.load_study(study_name=name, storage=store.storage, sampler=sampler, pruner=pruner)


def count(trials: Sequence[FrozenTrial]) -> Counted:
    """Count trials; a failed one that is run again is its later number."""
    states = Counter(trial.state for trial in trials if trial.state != TrialState.FAIL)
    failed = sum(trial.state == TrialState.FAIL and not is_lost(trial) for trial in trials)
    return Counted(
        states[TrialState.COMPLETE],
        states[TrialState.PRUNED],
        failed,
        states[TrialState.RUNNING],
        states[TrialState.WAITING],
    )


def is_lost(trial: FrozenTrial) -> bool:
    """Whether a trial ended by what is not its own doing, such as its worker's death, so that it is run again."""
    return trial.state == TrialState.FAIL and FAILED not in trial.user_attrs


def recover(store: Store, study: optuna.Study) -> None:
    """Mark the trials of dead workers, and put what was lost in the queue again, with the same params.

    Under the study's lock. It may be killed at any moment: the next call finishes what is left.
    """
    with warnings.catch_warnings():  # heartbeats call themselves experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if is_dead(trial):
            store.storage.set_trial_state_values(id_of(store, study, trial.number), TrialState.FAIL)
    trials = study.get_trials(deepcopy=False)
    again = {number for trial in trials for number in trial.user_attrs.get(AGAIN, ())}
    for trial in trials:
        if is_lost(trial) and trial.number not in again:
            study.add_trial(run_again(trial))


def refuse_killers(study: optuna.Study, home: str) -> None:
    """Raise Unavailable where workers of the command with this folder died one after the other over the same trial."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        if trial.user_attrs.get(DIED, {}).get(home, 0) >= DEATHS:
            raise Unavailable(
                f"{DEATHS} workers were killed over trial {trial.user_attrs[AGAIN][-1]} with {trial.params}, as it "
                "happens where memory runs out: try fewer hydra.sweeper.n_jobs or a smaller batch_size; the same "
                "command runs the trial again"
            )


def is_dead(trial: FrozenTrial) -> bool:
    """Whether the worker of a running trial is gone, where that can be told: where its lock can be seen.

    A trial is handed out under the study's lock, with the worker's name; without, the worker died in between.
    """
    worker = trial.user_attrs.get(WORKER)
    if worker is None:
        return True
    lock = Path(worker["lock"])
    return worker["host"] == socket.gethostname() and lock.exists() and not is_held(lock)


def is_held(path: Path) -> bool:
    """Whether a living process holds a lock file."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def run_again(trial: FrozenTrial) -> FrozenTrial:
    """A lost trial as a new one that waits, with the params it has drawn."""
    before = trial.user_attrs
    kept = {key: before[key] for key in (GRID, ORIGIN) if key in before}
    died = Counter(before.get(DIED, {}))
    if WORKER in before and INTERRUPTED not in before and STOPPED not in before:
        died[home_of(before[WORKER])] += 1
    stopped = before.get(STOPPED, before.get(BEFORE))
    history = [*before.get(AGAIN, ()), trial.number]
    return optuna.trial.create_trial(
        state=TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={**kept, AGAIN: history, DIED: dict(died), BEFORE: stopped},
        system_attrs={"failed_trial": history[0], "retry_history": history, **fixed_of(trial)},
    )


def home_of(worker: Mapping[str, Any]) -> str:
    """The folder of the command that a worker belongs to."""
    return Path(worker["lock"]).parent.name


def standing(study: optuna.Study, value: float, number: int) -> tuple[float, int]:
    """Where a finished trial stands in its study, the lowest being the best: by its value, the earlier of equals."""
    return (value if study.direction == optuna.study.StudyDirection.MINIMIZE else -value), number


def best_so_far(study: optuna.Study, trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The best of the trials that came to their end, the earliest of several."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return min(complete, key=lambda trial: standing(study, value_of(trial), trial.number), default=None)


def value_of(trial: FrozenTrial) -> float:
    """The objective of a trial that came to its end."""
    assert trial.value is not None
    return trial.value


def fixed_of(trial: FrozenTrial) -> dict[str, Any]:
    """The values that an enqueued trial has beforehand, as Optuna keeps them."""
    return {"fixed_params": trial.system_attrs["fixed_params"]} if "fixed_params" in trial.system_attrs else {}


def id_of(store: Store, study: optuna.Study, number: int) -> int:
    """The id that the storage gave a trial."""
    study_id = store.storage.get_study_id_from_name(study.study_name)
    return store.storage.get_trial_id_from_study_id_trial_number(study_id, number)


def wanted(settings: Settings, search: Search) -> int:
    """How many finished trials make a study complete: `n_trials`, or of a grid at most its points."""
    if settings.sampler != "grid":
        return settings.n_trials
    return min(settings.n_trials, math.prod(len(values) for _, values in axes(search)))


def points(search: Search) -> int | None:
    """How many different trials a space allows, None where they cannot be counted."""
    sizes = []
    for param in search.params:
        values = None if isinstance(param.space, Around) else axis(param.space)
        if values is None:
            return None
        sizes.append(len(values))
    return math.prod(sizes)


def axes(search: Search) -> list[tuple[str, Sequence[Any]]]:
    """The key and the values of each param of a grid."""
    found = []
    for param in search.params:
        assert isinstance(param.space, Choice | Numbers)
        values = axis(param.space)
        assert values is not None
        found.append((param.key, values))
    return found


def enqueue_grid(study: optuna.Study, search: Search, n_trials: int) -> None:
    """Put the first `n_trials` points of a grid in the queue, but for those that are there. Under the study's lock.

    The last param moves fastest, as in Hydra's own grid.
    """
    there = {trial.user_attrs.get(GRID) for trial in study.get_trials(deepcopy=False)}
    keys, values = zip(*axes(search), strict=True)
    for number, point in enumerate(islice(product(*values), n_trials)):
        if number not in there:
            study.enqueue_trial(dict(zip(keys, point, strict=True)), user_attrs={GRID: number})
