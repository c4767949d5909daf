"""The process that sends the runs of one training process to MLflow: `python -m expkit.tracking.sender`.

It follows metrics.jsonl of each run while that trains. What its parent process writes and hears, and the words of both,
`expkit.tracking.senders` says. Where the parent dies without a word, the runs are closed as KILLED.
"""

import json
import logging
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expkit.secrets import HidingFormatter
from expkit.tracking import moved, store
from expkit.tracking.nested import end_of, is_sent, is_tracked, nested_in
from expkit.tracking.sending import PAUSE, Sending
from expkit.tracking.store import OutOfReach, Store, reason_of
from expkit.urls import hide

# What MLflow prints must not come between the lines for the parent: from here on it goes to the log.
PARENT = os.dup(1)

log = logging.getLogger(__name__)

HELD = 100
"""So many runs wait for a store at most, or are taken over at a time: each takes memory and an open file."""


class Sender:
    """Sends runs, in turns of a step each, so that a new one need not wait for the files of an old one."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.store = Store(uri)
        self.runs: dict[Path, Sending] = {}
        self.failed: dict[Path, str] = {}
        self.walks: dict[Path, Iterator[Path]] = {}
        """How far each parent has come in looking for what nobody sends of its runs."""
        self.closing = False

    def work(self, inbox: "Inbox") -> None:
        """Follow what the parent names until it hangs up and all is sent."""
        while self.runs or not self.closing:
            for message in inbox.read(self.idle()):
                self.take(message)
            if inbox.closed and not self.closing:
                self.close()
            self.turn()

    def idle(self) -> float | None:
        """Seconds until there is something to do; None: until the parent says something."""
        return max(0.0, min(run.due for run in self.runs.values()) - time.monotonic()) if self.runs else None

    def take(self, message: dict[str, Any]) -> None:
        """Do what a line of the parent says."""
        match message:
            case {"follow": path}:
                self.follow(Path(path))
            case {"end": path, "waiting": waiting, **end}:
                run = self.follow(Path(path))
                run.end, run.waiting, run.due = end, waiting, 0.0
            case {"drop": path}:
                self.forget(Path(path))

    def follow(self, path: Path) -> Sending:
        """Take up a run."""
        self.failed.pop(path, None)
        return self.runs.setdefault(path, Sending(path, self.store, self.nested))

    def forget(self, path: Path) -> None:
        """Leave a run to others."""
        if run := self.runs.pop(path, None):
            run.lock.release(force=True)

    def close(self) -> None:
        """The parent is gone: what did not end was killed, and nothing is tried twice."""
        self.closing = True
        for run in self.runs.values():
            run.end = run.end or end_of(run.path) or killed()
            run.waiting, run.due = True, 0.0

    def turn(self) -> None:
        """Let each run that has something to do take a step."""
        due = [run for run in self.runs.values() if run.due <= time.monotonic()]
        for number, run in enumerate(due):
            try:
                if word := run.step():
                    run.trouble = ""
                    tell(run.path, done=word)
            except StopIteration:
                self.closed(run)
            except OutOfReach as error:
                # To ask it again for each of the others would take as long each time.
                for other in due[number:]:
                    self.stumble(other, str(error))
                return
            except Exception as error:  # whatever a store may raise, or a damaged folder
                self.store.failed()
                self.stumble(run, reason_of(error))
                return

    def closed(self, run: Sending) -> None:
        """Say that a run is closed, or of a parent, that runs in it were not sent."""
        self.forget(run.path)
        for other in self.runs.values():
            if other.path in run.path.parents:
                other.due = 0.0  # it may have waited for this one
        lost = [path for path in self.failed if run.path in path.parents]
        if lost:
            tell(run.path, error=f"{len(lost)} of its runs were not sent: {self.failed[lost[0]]}")
        else:
            tell(run.path, done="closed")

    def stumble(self, run: Sending, reason: str) -> None:
        """Try a run that could not be sent again after a pause, or give it up where somebody waits."""
        if run.trouble != reason:
            log.exception("%s: the store failed", run.path)
        if run.end and run.waiting:
            self.forget(run.path)
            self.failed[run.path] = reason
            tell(run.path, error=reason)
            return
        if run.end and len(self.runs) > HELD and any(path in run.path.parents for path in self.runs):
            # Its parent finds it as it ends. A store that is away must not fill the memory with all trials of a sweep.
            self.forget(run.path)
            tell(run.path, done="left to its parent")
            return
        if run.trouble != reason:
            tell(run.path, trouble=reason)
        run.trouble, run.due = reason, time.monotonic() + PAUSE
        run.restart()

    def nested(self, parent: Sending) -> int:
        """Take over what nobody sends of a parent's nested runs; how many of those that ended are not sent yet.

        These are runs that a killed process left, and those for which the store was out of reach.
        """
        if "kind" not in parent.facts:
            return 0
        own = self.nested_runs(parent)
        if not own:
            self.walks.setdefault(parent.path, nested_in(parent.path))
        walk = self.walks.get(parent.path, iter(()))
        while len(own) < HELD and (path := next(walk, None)):
            own += self.take_over(path)
        if len(own) < HELD:
            self.walks.pop(parent.path, None)
        for run in own:
            run.waiting = run.waiting or parent.waiting
        return len(own)

    def nested_runs(self, parent: Sending) -> list[Sending]:
        """The runs of a parent that are being sent."""
        return [run for path, run in self.runs.items() if parent.path in path.parents]

    def take_over(self, path: Path) -> list[Sending]:
        """Send a tracked run that is not in the store, unless a living process trains it; gives what is new to send."""
        if not is_tracked(path) or path in self.runs or path in self.failed or is_sent(path, self.uri):
            return []
        run = Sending(path, self.store, self.nested)
        run.left_behind = True
        run.end = end_of(path) or (killed() if run.hold() else None)
        if run.end is None:
            return []
        self.runs[path] = run
        return [run]


class Inbox:
    """Whole lines of JSON from a pipe."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe
        self.rest = b""
        self.closed = False

    def read(self, seconds: float | None) -> Iterator[dict[str, Any]]:
        """The lines that are there, waiting up to `seconds` for the first; None: for as long as it takes."""
        if self.closed:
            time.sleep(seconds or 0)
            return
        if not select.select([self.pipe], [], [], seconds)[0]:
            return
        new = os.read(self.pipe, 65536)
        self.closed = not new
        *lines, self.rest = (self.rest + new).split(b"\n")
        yield from map(json.loads, lines)


class Telling(logging.Handler):
    """Passes on to the parent what a person should read."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line to the parent."""
        write({"say": hide(record.getMessage())})


def killed() -> dict[str, Any]:
    """The end of a run that could not say how it ended."""
    return {"status": "KILLED", "time": int(time.time() * 1000), "tags": {}}


def tell(path: Path, **what: str) -> None:
    """Write a line of a run to the parent."""
    write({"run": str(path), **what})


def write(message: dict[str, str]) -> None:
    """Write a line to the parent, which may be gone."""
    try:
        os.write(PARENT, f"{json.dumps(message)}\n".encode())
    except BrokenPipeError:
        log.info("the parent process is gone")


if __name__ == "__main__":
    os.dup2(2, 1)
    screen = logging.StreamHandler()
    screen.setFormatter(HidingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[screen])
    for module in (moved, store):
        module.log.addHandler(Telling(logging.WARNING))
    # Not among the arguments of the process, which everybody on this machine can read: it may have a password.
    first = os.fdopen(0, "rb", buffering=0, closefd=False).readline()
    Sender(json.loads(first)["store"]).work(Inbox(0))
