"""One run on its way from its folder into the store."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mlflow.entities import Metric

from expkit.json_shapes import point_of
from expkit.run_folder import RunFolder
from expkit.secrets import without_passwords
from expkit.tracking.inputs import inputs_in
from expkit.tracking.naming import params_of
from expkit.tracking.nested import (
    WITHDRAWN,
    config_in,
    has_model,
    has_more,
    is_logged,
    is_sent,
    records_of,
    wants_model,
)
from expkit.tracking.notes import MLFLOW_RUN_NOTE, description, is_own
from expkit.tracking.store import Store
from expkit.tracking.system import SystemMetrics
from expkit.whole_files import read_json, write_json

BATCH = 1000
"""MLflow's limit of metrics in one call."""
PAUSE = 1.0
"""Seconds between looks at a run that trains."""


class Sending:
    """Sends one run folder, a step at a time; tracking.json remembers how far it came.

    So it can be killed and started again: MLflow keeps one of two equal points.
    """

    def __init__(self, path: Path, store: Store, nested: Callable[["Sending"], int]) -> None:
        self.path = path
        self.store = store
        self.nested = nested
        """Sends what is left of a parent's nested runs; says how many still are on their way."""
        self.lock = FileLock(path / ".tracking.lock")
        self.end: dict[str, Any] | None = None
        self.waiting = False
        """Whether somebody waits for the end, so that a store that fails is not tried again."""
        self.left_behind = False
        """Whether the process that tracked it has not asked for this, and may send it as well."""
        self.system: SystemMetrics | None = None
        self.trouble = ""
        self.due = 0.0
        self.restart()

    def restart(self) -> None:
        """Begin again at what tracking.json remembers."""
        self.uses_store = False
        self.steps = self.send()

    def step(self) -> str | None:
        """Do the next piece of work; a word for what is done, None where there is nothing to do for now.

        Raises StopIteration once the run is closed, OutOfReach, and whatever else a store may raise.
        """
        if self.uses_store:
            self.store.open()
        word = next(self.steps)
        self.due = time.monotonic() + PAUSE if word is None else 0.0
        return word

    def send(self) -> Iterator[str | None]:
        """Send the run until it has an end, and then the rest."""
        self.facts = read_json(self.path / "run.json", "experiment")
        self.folder = RunFolder(self.path, self.facts["experiment"])
        yield from self.wait_for_turn()
        if self.is_settled():
            return
        if not self.is_withdrawn():
            self.open()
            yield "started"
        while self.end is None:
            self.send_metrics()
            self.send_tags({})
            self.send_system()
            if "inputs" not in self.progress and "kind" not in self.facts:
                self.send_inputs()
            yield None
        if self.is_withdrawn():
            self.withdraw()
        else:
            yield from self.finish(self.end)

    def is_withdrawn(self) -> bool:
        """Whether the run was refused before anything came of it."""
        return self.end is not None and self.end["status"] == WITHDRAWN

    def withdraw(self) -> None:
        """Take out of the store what it has of a run that was refused."""
        if run_id := read_json(self.folder.tracking).get("run_id"):
            self.uses_store = True
            self.store.open()
            self.store.client.delete_run(run_id)

    def wait_for_turn(self) -> Iterator[None]:
        """Wait while another sender has the run, or where it is a grid, for the first of its jobs."""
        if "kind" not in self.facts:
            # The sender of a killed process may still be at work.
            while not self.hold():
                yield None
        # Its first tracked job makes the grid's own run, so that other tasks leave nothing in the store.
        while self.is_unseen_grid() and self.end is None:
            yield None

    def hold(self) -> bool:
        """Take the run for this process, if no other has it; a parent, at work on several machines, nobody takes."""
        try:
            if not self.lock.is_locked:
                self.lock.acquire(timeout=0)
        except Timeout:
            return False
        return True

    def is_unseen_grid(self) -> bool:
        """Whether this is a grid that no store knows of yet."""
        return self.facts.get("kind") == "grid" and not self.folder.tracking.exists()

    def is_settled(self) -> bool:
        """Whether there is nothing to send after all: a grid without a tracked job, a run that another sender sent."""
        if self.is_unseen_grid():
            return not self.nested(self)
        return self.left_behind and is_sent(self.path, self.store.uri)

    def open(self) -> None:
        """Find or make the run in the store, and send its params."""
        self.uses_store = True
        self.store.open()
        run = self.store.run_of(self.path)
        self.run_id = str(run.info.run_id)
        self.progress = read_json(self.folder.tracking, "sent")
        self.run, self.tags = run, {MLFLOW_RUN_NOTE: run.data.tags.get(MLFLOW_RUN_NOTE, "")}
        self.config = config_in(self.path)
        self.store.log_params(run, params_of(self.facts, self.config))
        if self.facts.get("system_metrics") and self.end is None and self.system is None:
            self.system = SystemMetrics(self.run_id, run.info.start_time)
        if "status" in self.progress and not self.is_complete():
            self.store.client.update_run(self.run_id, "RUNNING")
            del self.progress["status"]
            self.save()

    def send_metrics(self) -> None:
        """Send the lines of metrics.jsonl that are new and whole."""
        if not self.folder.metrics.exists():
            return
        with open(self.folder.metrics, "rb") as file:
            file.seek(self.progress["sent"])
            while lines := [line for line in take(file, BATCH) if line.endswith(b"\n")]:
                points = [
                    point_of(line, f"{self.folder.metrics}, after byte {self.progress['sent']},") for line in lines
                ]
                metrics = [Metric(name, value, time, step) for name, value, step, time in points]
                self.store.client.log_batch(self.run_id, metrics=metrics)
                self.progress["sent"] += sum(map(len, lines))
                self.save()

    def send_system(self, *, at_end: bool = False) -> None:
        """Send the load of the machine, where that is wanted and due."""
        if self.system and (points := self.system.points(at_end=at_end)):
            self.store.client.log_batch(self.run_id, metrics=points)

    def send_tags(self, more: dict[str, Any]) -> None:
        """Send the tags that are new: run.json may have come by some since the last look."""
        self.facts = read_json(self.folder.facts)
        known = {"fingerprint": self.facts["fingerprint"]} if "fingerprint" in self.facts else {}
        tags = {name: str(value) for name, value in (known | self.facts.get("tags", {}) | more).items()}
        if is_own(self.tags[MLFLOW_RUN_NOTE], self.facts):
            tags[MLFLOW_RUN_NOTE] = description(self.path, self.facts, self.run, tags.get(MLFLOW_RUN_NOTE, ""))
        if new := dict(tags.items() - self.tags.items()):
            self.store.set_tags(self.run_id, new)
            self.tags |= new

    def send_inputs(self) -> None:
        """Say which images the run reads, or the runs nested in it, where that is known and not said yet."""
        found = inputs_in(self.path, self.facts, self.config)
        told = " ".join(sorted(found))
        if told != self.progress.get("inputs", ""):
            self.store.client.log_inputs(self.run_id, datasets=[one for sets in found.values() for one in sets])
            self.progress["inputs"] = told
            self.save()

    def finish(self, end: dict[str, Any]) -> Iterator[str | None]:
        """Send the rest, then the files and the model, and close the run; a word after each step."""
        on_their_way = 0
        while left := self.nested(self):
            yield None if left == on_their_way else "a nested run"
            on_their_way = left
        if self.is_complete():
            return
        self.send_metrics()
        self.send_system(at_end=True)
        yield "metrics"
        result = read_json(self.folder.result)
        self.send_tags({key: result[key] for key in ("fingerprint",) if key in result} | end["tags"])
        self.send_inputs()
        with_weights = end["status"] == "FINISHED" and wants_model(self.path)
        sent = self.progress.setdefault("files", {})
        for path, stamp in self.new_files(with_weights):
            name = path.relative_to(self.path)
            where = str(name.parent)
            with without_passwords(path) as shown:
                self.store.client.log_artifact(self.run_id, str(shown), None if where == "." else where)
            sent[str(name)] = stamp
            yield path.name
        self.save()
        if with_weights and not has_model(self.path, self.progress):
            yield from self.send_model()
        self.store.client.set_terminated(self.run_id, end["status"], end["time"])
        self.progress["status"] = end["status"]
        self.save()

    def send_model(self) -> Iterator[str]:
        """Log the model, and register it where run.json says as what; a word after each step."""
        from expkit.tracking.model import log_model
        from expkit.tracking.registry import register

        name = self.facts.get("register")
        if not is_logged(self.path, self.progress) or (name and "model_id" not in self.progress):
            model_id = log_model(self.folder, self.run_id)
            temperature = read_json(self.folder.calibration).get("temperature")
            self.progress |= {"model": True, "temperature": temperature, "model_id": model_id}
            self.progress.pop("registered", None)  # a version is of one model, and this is another
            self.save()
            self.score_model(model_id)
            yield "model"
        if name and self.progress.get("registered", {}).get("name") != name:
            version = register(self.store.client, name, self.run_id, self.progress["model_id"])
            self.progress["registered"] = {"name": name, "version": version}
            self.save()
            yield "registered"

    def score_model(self, model_id: str) -> None:
        """Link the scores of the epoch whose weights the model has to the model: the very points of the run."""
        result = read_json(self.folder.result, "best_epoch", "epochs")
        at = self.config.get("objective", {}).get("at")
        epoch = result["best_epoch"] if at == "best" else result["epochs"]
        with open(self.folder.metrics, "rb") as file:
            points = [point_of(line, str(self.folder.metrics)) for line in file]
        scores = [
            Metric(name, value, time, step, model_id)
            for name, value, step, time in points
            if step == epoch and name.startswith("valid_")
        ]
        self.store.client.log_batch(self.run_id, metrics=scores)

    def is_complete(self) -> bool:
        """Whether the store has everything of a finished run; a parent may always get more."""
        if "kind" in self.facts or self.progress.get("status") != "FINISHED" or has_more(self.path, self.progress):
            return False
        # Nothing is known of the files that an earlier version sent.
        if "files" in self.progress and next(self.new_files(wants_model(self.path)), None):
            return False
        return has_model(self.path, self.progress)

    def new_files(self, with_weights: bool) -> Iterator[tuple[Path, list[int]]]:
        """The files that the store does not have as they are now, each with its size and the time of its change."""
        sent = self.progress.get("files", {})
        for path in records_of(self.path):
            if with_weights or path.parent.name != "checkpoints":
                found = path.stat()
                stamp = [found.st_size, found.st_mtime_ns]
                if sent.get(str(path.relative_to(self.path))) != stamp:
                    yield path, stamp

    def save(self) -> None:
        """Remember how far the sending came."""
        write_json(self.folder.tracking, self.progress)


def take(file: Any, count: int) -> Iterator[bytes]:
    """The next `count` lines of a file."""
    for _ in range(count):
        line = file.readline()
        if not line:
            return
        yield line
