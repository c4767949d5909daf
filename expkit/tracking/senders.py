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
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expkit.command import command
from expkit.screen import say
from expkit.tracking.address import named

log = logging.getLogger(__name__)

PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""A server that is down is tried a few times within a minute, not for MLflow's default of several."""
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true"}
"""A run tells nobody but its store."""
START = "import runpy, sys; sys.path[:] = sys.argv[1:]; runpy.run_module('expkit.tracking.sender', run_name='__main__')"
"""A sender imports from where this process does: not from the working directory, which may be that of anyone's run."""
OVER = {"closed", "left to its parent"}
"""What a sender says of a run that it is done with."""
PIPE = 65536
"""Bytes that are written to a pipe at a time."""
WORDLESS = 5.0
"""Seconds that somebody may wait without being told why."""
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
        self.outbox = bytearray()
        """What the sender has not taken yet."""
        self.stuck: float | None = None
        """Since when there has been something in it."""
        self.silent = False
        """Whether a wait for it was in vain, and nothing was heard since."""

    def prepare(self, said: Path, timeout: float) -> None:
        """Take where a sender shall say what it has to, and how long it may be silent."""
        self.said, self.timeout = said, max(timeout, self.timeout)

    def follow(self, folder: Path, said: Path, timeout: float) -> None:
        """Begin to send a run; `said` takes what a sender has to say, `timeout` is how long it may be silent."""
        self.prepare(said, timeout)
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
        self.runs.pop(str(folder), None)

    def say(self, folder: Path, message: dict[str, Any]) -> None:
        """Write a line to the sender, without waiting for it: it may have been stopped."""
        self.listen(0)  # its output must not fill the pipe
        if self.stuck is not None and time.monotonic() - self.stuck > self.timeout:
            self.bury()
        self.failed.pop(str(folder), None)
        self.runs.setdefault(str(folder), Followed([])).messages.append(message)
        if self.process is None:
            self.start()
        else:
            self.write(message)

    def write(self, message: dict[str, Any]) -> None:
        """Write a line to the sender, or keep it until it is taken."""
        self.outbox += f"{json.dumps(message)}\n".encode()
        self.flush()

    def flush(self) -> None:
        """Hand over what the sender takes; where it is dead, whoever listens finds that out and starts the next."""
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            while self.outbox:
                del self.outbox[: os.write(self.process.stdin.fileno(), self.outbox[:PIPE])]
        except BlockingIOError:
            self.stuck = self.stuck or time.monotonic()
            return
        except BrokenPipeError:
            self.outbox.clear()
        self.stuck = None
        if self.closing and not self.process.stdin.closed:
            self.process.stdin.close()

    def start(self) -> None:
        """Start a sender and tell it all that is not sent yet."""
        with open(self.said, "ab") as said:
            # A session of its own: Ctrl-C at the terminal is for the trainer, which then says how the run ended.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", START, *sys.path],
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
        assert self.process.stdin is not None
        os.set_blocking(self.process.stdin.fileno(), False)
        self.outbox, self.stuck, self.silent = bytearray(), None, False
        self.write({"store": self.uri})
        for followed in self.runs.values():
            followed.done.clear()
            for message in followed.messages:
                self.write(message)

    def hang_up(self) -> None:
        """Close the sender's input once it has taken all: there will be no other run."""
        self.closing = True
        self.flush()

    def listen(self, seconds: float) -> bool:
        """Take in what the sender says, waiting up to `seconds` for its first word; whether there was any."""
        heard, deadline = False, time.monotonic() + seconds
        while self.process is not None:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            left = 0 if heard else max(0, deadline - time.monotonic())
            writable = [self.process.stdin] if self.outbox else []
            words, room, _ = select.select([self.process.stdout], writable, [], left)
            if room:
                self.flush()
            if words:
                heard, self.silent = True, False
                line = self.process.stdout.readline()
                if line.endswith(b"\n"):
                    self.take(json.loads(line))
                else:
                    self.bury()
            elif not room:
                return heard
        return heard

    def take(self, message: dict[str, Any]) -> None:
        """Note what the sender says of a run, and pass on what a person should read."""
        if "say" in message:
            log.warning("%s", message["say"])
            return
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
        if followed.error or followed.done & OVER:
            del self.runs[folder]

    def bury(self) -> None:
        """Start the next sender for what a dead one left; where they keep dying, give it up."""
        assert self.process is not None
        self.process.kill()
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process, self.stuck = None, None
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
            if followed.trouble and not patient:
                if not self.listen(0):
                    return followed.trouble
            elif not self.hear():
                return followed.trouble or self.silence()
        return followed.error

    def hear(self) -> bool:
        """Wait for the sender's next word, but not again where that was in vain; says so after some seconds.

        Ctrl-C ends the waiting, and the sender goes on by itself.
        """
        if self.silent:
            return self.listen(0)
        try:
            heard = self.listen(min(self.timeout, WORDLESS))
            if not heard and self.timeout > WORDLESS:
                say(f"waiting for {named(self.uri)}, at most {self.timeout:g} s (tracking.timeout)", stderr=True)
                heard = self.listen(self.timeout - WORDLESS)
        except KeyboardInterrupt:
            self.part()
            raise
        self.silent = not heard
        return heard

    def part(self) -> None:
        """Leave the sender to itself: it closes what it has when its input ends."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        self.process, self.stuck = None, None
        self.runs.clear()

    def trouble(self, folder: Path) -> str | None:
        """Why the store has failed for a run so far, if it has; nobody waits for that."""
        self.listen(0)
        followed = self.runs.get(str(folder))
        return followed.trouble if followed else self.failed.get(str(folder))

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
            if not self.hear():
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
        f"{named(uri)} did not take the whole run ({reason}); nothing is lost: "
        f"once it answers, `{command(f'resume={folder}')}` sends the rest"
    )


atexit.register(close_senders)
# A forked child (a data worker) has no say in what its parent's sender does.
os.register_at_fork(after_in_child=SENDERS.clear)
