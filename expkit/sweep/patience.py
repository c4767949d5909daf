"""A database server that goes away for a while is waited for: each question to it is asked again."""

import logging
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from expkit.causes import chain_of, is_full
from expkit.errors import Unavailable
from expkit.sweep.space.grammar import first_line

log = logging.getLogger("expkit.sweep")
R = TypeVar("R")

PATIENCE = 300.0
"""Seconds for which a server is waited for: it may come up with its machine."""
FIRST, LONGEST = 0.5, 15.0
"""Seconds until the second attempt, and between later ones; each pause is twice the one before."""
POLL = 0.1
"""Seconds between looks for a signal meanwhile."""


class Patience:
    """Asks a database again until it answers, `stopped` says so, or patience is at its end.

    Only in the main thread: a thread that watches, or gives signs of life, has another look to come.
    """

    def __init__(self, name: str, seconds: float = PATIENCE) -> None:
        self.name = name
        """What messages call the database."""
        self.seconds = seconds
        self.stopped: Callable[[], object] = lambda: False

    def ask(self, question: Callable[[], R]) -> R:
        """The answer. Raises Unavailable where none came, and at once whatever is no lost connection."""
        began, pause = time.monotonic(), FIRST
        while True:
            try:
                return question()
            except Exception as error:
                if not is_lost(error) or threading.current_thread() is not threading.main_thread():
                    raise
                reason = reason_of(error)
                if self.stopped() or time.monotonic() - began > self.seconds:
                    raise Unavailable(f"{self.name} does not answer ({reason})") from error
                log.info("%s does not answer (%s): asking again in %g s", self.name, reason, pause)
            self.wait(pause)
            pause = min(2 * pause, LONGEST)

    def wait(self, seconds: float) -> None:
        """Let time go by, less where a stop is asked for."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.stopped():
            time.sleep(POLL)


def is_lost(error: BaseException) -> bool:
    """Whether an exception says that a connection was lost or could not be made, so that a later one may hold."""
    chain = list(chain_of(error))
    if isinstance(error, Unavailable) or any(map(is_full, chain)):
        return False
    return any(
        isinstance(one, OperationalError | InterfaceError)
        or (isinstance(one, DBAPIError) and one.connection_invalidated)
        for one in chain
    )


def reason_of(error: BaseException) -> str:
    """What the database, or the connection to it, said, in one line."""
    said = [one.orig for one in chain_of(error) if isinstance(one, DBAPIError) and one.orig is not None]
    return first_line(said[0] if said else error)


class PatientStorage(RDBStorage):
    """Optuna's storage in a server's database, asked with patience.

    An answer that was lost on its way may have been given: what is written twice then is the same twice, but for a new
    trial, of which nobody takes the first; it counts as one whose worker died.
    """

    def __init__(self, patience: Patience, *args: Any, **keys: Any) -> None:
        self.patience = patience
        super().__init__(*args, **keys)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        """Set the state of a trial, once; that it has it already, after a lost answer, is as good."""
        asked = 0

        def question() -> bool:
            nonlocal asked
            asked += 1
            try:
                return bool(RDBStorage.set_trial_state_values(self, trial_id, state, values))
            except UpdateFinishedTrialError:
                if asked > 1 and RDBStorage.get_trial(self, trial_id).state == state:
                    return True
                raise

        return self.patience.ask(question)

    def record_heartbeat(self, trial_id: int) -> None:
        """Give a sign of life; one that is lost is followed by the next."""
        try:
            super().record_heartbeat(trial_id)
        except Exception as error:
            if not is_lost(error):
                raise
            log.info("a sign of life was lost: %s", reason_of(error))


def patient(method: Callable[..., R]) -> Callable[..., R]:
    """A method of a storage that asks with patience."""

    @wraps(method)
    def ask(self: PatientStorage, *args: Any, **keys: Any) -> R:
        return self.patience.ask(lambda: method(self, *args, **keys))

    return ask


INNER = ("_create_new_trial", "_set_trial_param", "_get_trials", "_get_best_trial_id", "_get_stale_trial_ids")
"""What Optuna's cache asks of a storage behind the documented methods."""

for name in {*BaseStorage.__abstractmethods__, *INNER} - vars(PatientStorage).keys():
    setattr(PatientStorage, name, patient(getattr(RDBStorage, name)))
