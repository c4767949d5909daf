"""The training side of the process that sends runs to a store: one for all runs of this process and each store.

Each line of JSON to the sender says one thing of a run, which the path of its folder names:
`{"follow": FOLDER}` sends it as it trains; `{"end": FOLDER, "status": ..., "time": ..., "tags": {...}, "waiting":
BOOL}` sends the rest, of a run followed or not, and closes it (`waiting`: somebody waits, so a store that fails is not
tried again); `{"drop": FOLDER}` leaves it alone. The end of the input closes the runs without an end as KILLED, and
the sender leaves once all is sent.

From it come `{"run": FOLDER, "done": WORD}` with `started`, `closed` or what was sent; `{"run": FOLDER, "trouble":
REASON}` where the store failed and will be tried again, and `{"run": FOLDER, "error": REASON}` where it will not.
"""

import atexit
import json
import logging
import os
import select
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from expkit.command import command

log = logging.getLogger(__name__)

PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""A server that is down is tried a few times within a minute, not for MLflow's default of several."""
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true"}
"""A run tells nobody but its store."""
DEATHS = 3
"""So often a sender that dies before it has done anything is started again."""


@dataclass
class Followed:
    """What is known of a run that a sender follows."""

    messages: list[dict[str, Any]]
    """Said of it so far, to be said again to the next sender where this one dies."""
    done: set[str] = field(default_factory=set)
    trouble: str | None = None
    error: str | None = None


class SenderProcess:
    """Drives the process that sends to one store, and starts another where it dies."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.process: subprocess.Popen[bytes] | None = None
        self.runs: dict[str, Followed] = {}
        self.failed: dict[str, str] = {}
        self.given_up: set[Path] = set()
        self.timeout = 0.0
        self.deaths = 0
        self.closing = False

    def follow(self, folder: Path, said: Path, timeout: float) -> None:
        """Begin to send a run; `said` takes what a sender has to say, `timeout` is how long it may be silent."""
        self.said, self.timeout = said, max(timeout, self.timeout)
        self.given_up.discard(folder)
        if str(folder) in self.runs:  # it was worked at before, and that is to be sent first
            self.wait(folder, "closed", patient=True)
        self.say(folder, {"follow": str(folder)})

    def end(self, folder: Path, end: dict[str, Any], *, waiting: bool) -> None:
        """Say how a run ended."""
        self.say(folder, {"end": str(folder), **end, "waiting": waiting})

    def drop(self, folder: Path) -> None:
        """Leave a run alone."""
        self.say(folder, {"drop": str(folder)})
        del self.runs[str(folder)]

    def say(self, folder: Path, message: dict[str, Any]) -> None:
        """Write a line to the sender."""
        self.listen(0)  # its output must not fill the pipe
        self.failed.pop(str(folder), None)
        self.runs.setdefault(str(folder), Followed([])).messages.append(message)
        if self.process is None:
            self.start()
        else:
            self.write(message)

    def write(self, message: dict[str, Any]) -> None:
        """Write to a sender that may be dead; whoever listens finds that out and starts the next."""
        assert self.process is not None
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{json.dumps(message)}\n".encode())

    def start(self) -> None:
        """Start a sender and tell it all that is not sent yet."""
        with open(self.said, "ab") as said:
            # A session of its own: Ctrl-C at the terminal is for the trainer, which then says how the run ended.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "expkit.tracking.sender", self.uri],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                bufsize=0,
                start_new_session=True,
                env=PATIENCE | QUIET | os.environ,
            )
        # The trainer comes first: on few cores an equal at its side would hold up its threads at every barrier.
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, self.process.pid, 10)
        for followed in self.runs.values():
            followed.done.clear()
            for message in followed.messages:
                self.write(message)
        if self.closing:
            self.hang_up()

    def hang_up(self) -> None:
        """Close the sender's input: there will be no other run."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.closing = True
        self.process.stdin.close()

    def listen(self, seconds: float) -> bool:
        """Take in what the sender says, waiting up to `seconds` for its first word; whether there was any."""
        heard = False
        while self.process is not None:
            assert self.process.stdout is not None
            if not has_line(self.process.stdout, 0 if heard else seconds):
                return heard
            heard = True
            line = self.process.stdout.readline()
            if line.endswith(b"\n"):
                self.take(json.loads(line))
            else:
                self.bury()
        return heard

    def take(self, message: dict[str, Any]) -> None:
        """Note what the sender says of a run."""
        folder = message.pop("run")
        followed = self.runs.get(folder)
        if followed is None:
            return
        followed.trouble = message.get("trouble")
        if "error" in message:
            followed.error = self.failed[folder] = message["error"]
        if "done" in message:
            self.deaths = 0
            followed.done.add(message["done"])
        if followed.error or "closed" in followed.done:
            del self.runs[folder]

    def bury(self) -> None:
        """Start the next sender for what a dead one left; where they keep dying, give it up."""
        assert self.process is not None
        self.process.kill()
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process = None
        if not self.runs:
            return
        self.deaths += 1
        if self.deaths < DEATHS:
            self.start()
            return
        reason = f"the sending process ended with status {status}, see {self.said}"
        for folder in list(self.runs):
            self.take({"run": folder, "error": reason})
        self.deaths = 0

    def wait(self, folder: Path, word: str, *, patient: bool) -> str | None:
        """Wait until the sender says `word` of a run; else give the reason why it will not come.

        A store that failed and will be tried again is such a reason, unless `patient`.
        """
        followed = self.runs.get(str(folder))
        if followed is None:
            return self.failed.get(str(folder))
        while word not in followed.done and followed.error is None:
            heard = self.listen(0) if followed.trouble and not patient else self.listen(self.timeout)
            if not heard:
                return followed.trouble or self.silence()
        return followed.error

    def silence(self) -> str:
        """What to say of a sender that says nothing."""
        return f"no answer within tracking.timeout={self.timeout:g} s, see {self.said}"

    def give_up(self, folder: Path) -> None:
        """Go on without a run and those in it, of which the user is told; a sender that hangs over it is ended."""
        self.given_up.add(folder)
        if self.runs.pop(str(folder), None) and self.process is not None:
            self.bury()

    def close(self) -> dict[str, str]:
        """Wait until all is sent, and end the sender; gives the folders that were not sent, each with the reason.

        Those that were given up before are not among them.
        """
        if self.process is not None and not self.closing:
            self.hang_up()
        while self.runs:
            if not self.listen(self.timeout):
                self.failed |= dict.fromkeys(self.runs, self.silence())
                self.runs.clear()
        if self.process is not None:
            self.bury()
        return {
            path: reason
            for path, reason in self.failed.items()
            if not self.given_up.intersection((Path(path), *Path(path).parents))
        }


SENDERS: dict[str, SenderProcess] = {}
"""The senders of this process, by the address of their store."""


def sender_of(uri: str) -> SenderProcess:
    """The sender of this process for a store."""
    return SENDERS.setdefault(uri, SenderProcess(uri))


def close_senders() -> None:
    """Wait until everything that this process tracked is sent, and warn of what was not; so each process ends."""
    while SENDERS:
        uri, sender = SENDERS.popitem()
        for folder, reason in sender.close().items():
            log.warning(lost_nothing(uri, folder, reason))


def lost_nothing(uri: str, folder: object, reason: str) -> str:
    """The message where a store did not take all of a run."""
    return (
        f"tracking.uri={uri} did not take the whole run ({reason}); nothing is lost: "
        f"once it answers, `{command(f'resume={folder}')}` sends the rest"
    )


def has_line(pipe: IO[bytes], seconds: float) -> bool:
    """Whether an unbuffered pipe has something to read, or has closed, within `seconds`."""
    return bool(select.select([pipe], [], [], seconds)[0])


atexit.register(close_senders)
# A forked child (a data worker) has no say in what its parent's sender does.
os.register_at_fork(after_in_child=SENDERS.clear)
