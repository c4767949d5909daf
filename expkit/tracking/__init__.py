"""The `tracking` group: where runs are recorded, besides their own folder.

A separate process does the sending, so that neither MLflow's imports nor its database slow the training: it reads the
run folder, and whatever happens to it or to the store, nothing is lost there.
"""

import json
import logging
import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from expkit.check import Positive, checked
from expkit.errors import UserError
from expkit.run_folder import RunFolder, read_json

log = logging.getLogger(__name__)

PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""A server that is down is tried a few times within a minute, not for MLflow's default of several."""


class Tracker(Protocol):
    """Follows one run."""

    def start(self) -> None:
        """Begin to send, or go on where an earlier process of the run ended."""

    def run_id(self) -> str | None:
        """The id that the store gave the run, None where there is no store or it does not answer."""

    def finish(self, status: str) -> None:
        """Send what is left and close the run as FINISHED, FAILED or KILLED."""

    def hint(self) -> str | None:
        """How to look at the run there."""


class NoTracker:
    """Leaves the run folder as the only record."""

    def start(self) -> None:
        """Nothing to begin."""

    def run_id(self) -> None:
        """No store, no id."""

    def finish(self, status: str) -> None:
        """Nothing to send."""

    def hint(self) -> None:
        """Nowhere to look but the folder."""


@checked
def none(folder: RunFolder) -> Tracker:
    """Record the run in its folder alone."""
    return NoTracker()


@checked
def mlflow(
    folder: RunFolder, *, uri: str = "sqlite:///outputs/mlflow.db", timeout: Positive = 120.0, required: bool = False
) -> Tracker:
    """Record the run in the MLflow store at `uri`, a database URL or a server's address.

    `timeout` is how many seconds the store may stay silent at the end of a run. Where it does not answer, a run with
    `required` ends with a UserError, at its start if it can; without, the run folder keeps everything and
    `resume=RUN` sends it later.
    """
    return MlflowTracker(folder, absolute(uri), timeout, required)


class MlflowTracker:
    """Drives the process that sends a run to MLflow."""

    def __init__(self, folder: RunFolder, uri: str, timeout: float, required: bool) -> None:
        self.folder = folder
        self.uri = uri
        self.timeout = timeout
        self.required = required
        self.done: set[str | None] = set()

    def start(self) -> None:
        """Start the sender; with `required`, wait until the store has accepted the run."""
        command = [
            sys.executable,
            "-m",
            "expkit.tracking.sender",
            str(self.folder.path),
            self.folder.experiment,
            self.uri,
        ]
        with open(self.folder.path / "tracking.log", "ab") as log:
            # A session of its own: Ctrl-C at the terminal is for the trainer, which then says how the run ended.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                start_new_session=True,
                env=PATIENCE | os.environ,
            )
        # The trainer comes first: on few cores an equal at its side would hold up its threads at every barrier.
        os.setpriority(os.PRIO_PROCESS, self.process.pid, 10)
        if self.required and (reason := self.wait_for("started", patient=False)):
            self.process.kill()
            raise UserError(f"tracking.uri={self.uri} is out of reach ({reason}), and tracking.required is true")

    def run_id(self) -> str | None:
        """The MLflow run id, waiting until the store has given it; None where it is out of reach."""
        self.wait_for("started", patient=False)
        run_id: str | None = read_json(self.folder.tracking).get("run_id")
        return run_id

    def finish(self, status: str) -> None:
        """Tell the sender how the run ended, and wait while it sends the rest."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # the sender failed earlier; its message is still to be read
            self.process.stdin.write(f"{status}\n".encode())
        reason = self.wait_for("finished", patient=True)
        self.process.kill()
        self.process.wait()
        if reason:
            message = (
                f"tracking.uri={self.uri} did not take the whole run ({reason}); nothing is lost: "
                f"once it answers, `python -m expkit resume={self.folder.path}` sends the rest"
            )
            if self.required and status == "FINISHED":
                raise UserError(message)
            log.warning(message)

    def wait_for(self, word: str, *, patient: bool) -> str | None:
        """Read what the sender says it has done until that is `word`; else the reason why it will not come.

        A store that failed and will be tried again is such a reason, unless `patient`.
        """
        assert self.process.stdout is not None
        trouble: str | None = None
        while word not in self.done:
            if trouble and not patient and not has_line(self.process.stdout, 0):
                return trouble
            line = self.process.stdout.readline() if has_line(self.process.stdout, self.timeout) else b""
            if not line:
                said = self.folder.path / "tracking.log"
                return trouble or f"no answer within tracking.timeout={self.timeout:g} s, see {said}"
            message = json.loads(line)
            if "error" in message:
                return str(message["error"])
            trouble = message.get("trouble")
            self.done.add(message.get("done"))
        return None

    def hint(self) -> str:
        """The command that opens the MLflow UI, or the server's address."""
        return self.uri if self.uri.startswith("http") else f"mlflow ui --backend-store-uri {relative(self.uri)}"


def has_line(pipe: IO[bytes], seconds: float) -> bool:
    """Whether an unbuffered pipe has something to read, or has closed, within `seconds`."""
    return bool(select.select([pipe], [], [], seconds)[0])


def absolute(uri: str) -> str:
    """A sqlite address with its path made absolute, so that every process means the same file; others unchanged."""
    prefix = "sqlite:///"
    return f"{prefix}{Path(uri.removeprefix(prefix)).resolve()}" if uri.startswith(prefix) else uri


def relative(uri: str) -> str:
    """A sqlite address as a person types it, below the working directory."""
    path = Path(uri.removeprefix("sqlite:///"))
    return f"sqlite:///{path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else uri


def folder_of(run: str) -> Path:
    """The folder of the run with an MLflow run id, by its tag in the store at MLFLOW_TRACKING_URI, or the default one.

    Raises UserError where there is no such run, or its folder lies on another machine.
    """
    from expkit.tracking.sender import folder_tag

    uri = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///outputs/mlflow.db")
    folder = folder_tag(absolute(uri), run)
    if folder is None or not Path(folder).is_dir():
        raise UserError(f"{run} is neither a run folder nor the id of a run in {uri} whose folder is here")
    return Path(folder)
