"""The `tracking` group: where runs are recorded, besides their own folder.

A separate process does the sending, so that neither MLflow's imports nor its database slow the training: it reads the
run folders, and whatever happens to it or to the store, nothing is lost there.
"""

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from omegaconf import OmegaConf

from expkit.build import build
from expkit.check import Positive, checked
from expkit.config.schema import check_node
from expkit.errors import Unavailable, UserError
from expkit.project import kept_url
from expkit.run_folder import RunFolder, refuse_links
from expkit.secrets import resolved
from expkit.tracking.address import Address, hint_of, named, silence_of, store_of_run
from expkit.tracking.finding import folder_of
from expkit.tracking.nested import WITHDRAWN, end_of, make_parent, parent_of, path_to_parent, write_end
from expkit.tracking.registering import ModelName, check_registry
from expkit.tracking.senders import close_senders, lost_nothing, sender_of
from expkit.whole_files import read_json

__all__ = ["Tracker", "close_senders", "folder_of", "make_parent", "mlflow", "none", "path_to_parent", "send_rest"]

log = logging.getLogger(__name__)


class Tracker(Protocol):
    """Follows one run."""

    def start(self) -> None:
        """Begin to send, or go on where an earlier process of the run ended."""

    def look(self) -> None:
        """Say what is known by now to be wrong with the store, before a long training."""

    def run_id(self) -> str | None:
        """The id that the store gave the run, None where there is no store or it does not answer."""

    def finish(self, status: str, *, tags: Mapping[str, str] | None = None, wait: bool | None = None) -> None:
        """Send what is left, with `tags`, and close the run as FINISHED, FAILED or KILLED; WITHDRAWN takes it back.

        `wait` until that is done. None: unless the run is nested in one that goes on, whose own end waits for it.
        """

    def update(self) -> None:
        """Begin to send what came to the run since it ended, as the parent it is nested in waits for at its own end."""

    def forget(self) -> None:
        """Leave a run alone of which nothing shall be in the store."""

    def hint(self) -> str | None:
        """How to look at the run there; None where it is not there."""


class NoTracker:
    """Leaves the run folder as the only record."""

    def start(self) -> None:
        """Nothing to begin."""

    def look(self) -> None:
        """No store to be wrong."""

    def run_id(self) -> None:
        """No store, no id."""

    def finish(self, status: str, *, tags: Mapping[str, str] | None = None, wait: bool | None = None) -> None:
        """Nothing to send."""

    def update(self) -> None:
        """Nothing to send."""

    def forget(self) -> None:
        """Nothing was sent."""

    def hint(self) -> None:
        """Nowhere to look but the folder."""


@checked
def none(folder: RunFolder) -> Tracker:
    """Record the run in its folder alone."""
    return NoTracker()


@checked
def mlflow(
    folder: RunFolder,
    *,
    uri: Address | None = None,
    timeout: Positive = 120.0,
    required: bool = False,
    register: ModelName | None = None,
    system_metrics: bool = False,
) -> Tracker:
    """Record the run in the MLflow store at `uri`, a database URL or a server's address.

    None: the store that the run was tracked in before, else MLFLOW_TRACKING_URI, else sqlite:///outputs/mlflow.db.
    `timeout` is how many seconds the store may stay silent at the end of a run. Where it does not answer, a run with
    `required` ends with a UserError, at its start if it can; without, the run folder keeps everything and
    `resume=RUN` sends it later. `register` is the name of the registered model that the model of the run becomes the
    next version of; of a sweep or a grid, that of the best run alone. With `system_metrics`, which needs psutil, the
    store also has the load of the machine, every 10 seconds while the run trains.
    """
    if system_metrics and find_spec("psutil") is None:
        raise UserError("tracking.system_metrics=true needs psutil: pip install 'expkit[system]'")
    return MlflowTracker(folder, store_of_run(folder, uri), timeout, required, register, system_metrics)


class MlflowTracker:
    """Has a run sent to MLflow by the sender that all runs of this process share."""

    def __init__(
        self, folder: RunFolder, uri: str, timeout: float, required: bool, register: str | None, system_metrics: bool
    ) -> None:
        self.folder = folder
        self.path = folder.path.resolve()
        self.uri = uri
        self.timeout = timeout
        self.required = required
        self.register = register
        self.system_metrics = system_metrics
        facts = read_json(folder.facts)
        self.kind = facts.get("kind")
        self.parent = parent_of(self.path)
        self.said = (self.parent or self.path) / "tracking.log"
        self.lost = False
        """Whether the store does not have what it was to have as the run ended."""

    def start(self) -> None:
        """Have the run followed; with `required`, wait until the store has accepted it.

        Raises UserError where its model is to be registered, and the store has no registry.
        """
        if self.register and self.parent is None:  # of a sweep, the best run is registered by whoever knows it
            check_registry(self.uri, self.register)
            if self.kind is None:
                self.folder.note(register=self.register)
        if self.system_metrics and self.kind is None:
            self.folder.note(system_metrics=True)
        (self.path / "end.json").unlink(missing_ok=True)
        if self.parent is None and "store" not in read_json(self.folder.facts):
            self.folder.note(store=kept_url(self.uri, self.path))
        sender = sender_of(self.uri)
        silence = silence_of(self.uri) if sender.process is None else None
        self.told = bool(silence)
        if silence:
            self.tell_silence(silence)
        sender.follow(self.path, self.said, self.timeout)
        # A grid is in the store once its first job is.
        if self.required and self.kind != "grid" and (reason := sender.wait(self.path, "started", patient=False)):
            self.forget()
            raise Unavailable(f"{named(self.uri)} is out of reach ({reason}), and tracking.required is true")

    def tell_silence(self, reason: str) -> None:
        """Say before anything is trained that the store is out of reach; raises Unavailable where it is required."""
        if self.required:
            raise Unavailable(f"{named(self.uri)} is out of reach ({reason}), and tracking.required is true")
        log.warning(
            "%s is out of reach (%s); %s keeps what it is to have until it answers", named(self.uri), reason, self.path
        )

    def look(self) -> None:
        """Say what the sender has met with so far."""
        if (trouble := sender_of(self.uri).trouble(self.path)) and not self.told:
            log.warning("%s fails (%s); %s keeps what it is to have", named(self.uri), trouble, self.path)

    def run_id(self) -> str | None:
        """The MLflow run id, waiting until the store has given it; None where it is out of reach.

        A trial of a study does not wait: it may be over before there is a sender.
        """
        if self.parent is None or read_json(self.parent / "run.json").get("kind") != "study":
            sender_of(self.uri).wait(self.path, "started", patient=False)
        run_id: str | None = read_json(self.folder.tracking).get("run_id")
        return run_id

    def finish(self, status: str, *, tags: Mapping[str, str] | None = None, wait: bool | None = None) -> None:
        """Have the rest sent, and wait for it as the protocol says."""
        if wait is None:
            wait = self.parent is None or end_of(self.parent) is not None
        end = write_end(self.path, status, tags or {})
        sender = sender_of(self.uri)
        sender.end(self.path, end, waiting=wait)
        if not wait:
            return
        reason = sender.wait(self.path, "closed", patient=True)
        self.lost = bool(reason)
        if reason:
            sender.give_up(self.path)
            message = lost_nothing(self.uri, self.path, reason)
            if self.required and status == "FINISHED":
                raise Unavailable(message)
            if status != WITHDRAWN:
                log.warning(message)

    def update(self) -> None:
        """Say the run's end again: the sender looks what is new."""
        if end := end_of(self.path):
            sender = sender_of(self.uri)
            sender.prepare(self.said, self.timeout)
            sender.end(self.path, end, waiting=False)

    def forget(self) -> None:
        """Have the run no longer followed."""
        sender_of(self.uri).drop(self.path)

    def hint(self) -> str | None:
        """The command that opens the MLflow UI, or the address of the runs; None where the store has failed so far."""
        if self.lost or sender_of(self.uri).trouble(self.path):
            return None
        return hint_of(self.uri, read_json(self.folder.tracking).get("experiment_id"))


def tracker_of(parent: Path) -> Tracker:
    """The tracker of a study or a grid, as its run.json says.

    Raises UserError where that refers to what is not set, or is no node of the group.
    """
    facts = read_json(parent / "run.json", "experiment", "tracking")
    node = resolved(OmegaConf.create(facts["tracking"]))
    check_node("tracking", node, f"{parent / 'run.json'}: tracking")
    tracker: Tracker = build(node, RunFolder(parent, facts["experiment"]), group="tracking")
    return tracker


def send_rest(parent: Path) -> None:
    """Send what the store does not have yet of a study or a grid and of the runs in it; nothing is trained.

    Raises UserError where the store is required and out of reach, and for links that would lead writes elsewhere.
    """
    refuse_links(parent)
    end = end_of(parent) or {"status": "KILLED", "tags": {}}
    tracker = tracker_of(parent)
    tracker.start()
    tracker.finish(end["status"], tags=end["tags"])
