"""The folder that a run leaves: where each of its files lies, and how a run is found again."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from expkit.errors import UserError


@dataclass(frozen=True)
class RunFolder:
    """`outputs/<experiment>/<date>_<time>/` and its files."""

    path: Path
    experiment: str

    @classmethod
    def create(cls, path: Path, experiment: str) -> "RunFolder":
        """The folder of a new run. Raises UserError where `path` holds a run already."""
        folder = cls(path, experiment)
        if folder.metrics.exists() or folder.result.exists():
            raise UserError(f"{path} holds a run already: go on with resume={path}, or choose another hydra.run.dir")
        return folder

    @classmethod
    def find(cls, run: str) -> "RunFolder":
        """The folder of an earlier run, named by its path or by its MLflow run id.

        Raises UserError where there is no such run.
        """
        path = Path(run)
        if not path.is_dir():
            from expkit.tracking import folder_of

            path = folder_of(run)
        if not (path / ".hydra" / "config.yaml").is_file():
            raise UserError(f"{path} is no run folder: it has no .hydra/config.yaml")
        hydra = OmegaConf.load(path / ".hydra" / "hydra.yaml")
        return cls(path.resolve(), OmegaConf.select(hydra, "hydra.runtime.choices.experiment") or "unnamed")

    @property
    def started_in(self) -> Path:
        """The working directory in which the run was started, from which the paths in its config lead."""
        return Path(OmegaConf.load(self.path / ".hydra" / "hydra.yaml").hydra.runtime.cwd)

    @property
    def config(self) -> Path:
        """The composed config."""
        return self.path / ".hydra" / "config.yaml"

    @property
    def log(self) -> Path:
        """What the run said, with times."""
        return self.path / "expkit.log"

    @property
    def metrics(self) -> Path:
        """Every metric as a line of JSON: the truth that tracking is fed from."""
        return self.path / "metrics.jsonl"

    @property
    def traces(self) -> Path:
        """Loss and hyperparameters at every step, written at the end of a run from `trace_rows`."""
        return self.path / "traces.parquet"

    @property
    def trace_rows(self) -> Path:
        """The same as raw rows that a resumed run can cut and go on with."""
        return self.path / "traces.bin"

    @property
    def predictions(self) -> Path:
        """Predictions on the validation images."""
        return self.path / "predictions.parquet"

    @property
    def result(self) -> Path:
        """The result of a finished run."""
        return self.path / "result.json"

    @property
    def tracking(self) -> Path:
        """How far tracking has come."""
        return self.path / "tracking.json"

    @property
    def last_checkpoint(self) -> Path:
        """The trainer's whole state, to go on from."""
        return self.path / "checkpoints" / "last.pt"

    @property
    def best_weights(self) -> Path:
        """The weights of the best epoch."""
        return self.path / "checkpoints" / "best.safetensors"

    @property
    def exported_weights(self) -> Path:
        """The weights that the exported model has: of the best or the last epoch, as the objective says."""
        return self.path / "checkpoints" / "model.safetensors"

    @property
    def plots(self) -> Path:
        """Pictures of the run."""
        return self.path / "plots"

    def lock(self) -> FileLock:
        """Hold the run for this process; the lock goes with the process, however it ends.

        Raises UserError where another process works in the folder.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{self.path} is in use: another process trains this run; wait for it or stop it") from None
        return lock


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path` and put it in place in one move, once it is on the disk.

    So a reader, or a run killed meanwhile, finds the old file or the new one, whole. Raises UserError where the disk
    is full or the folder read-only.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"{path} could not be written ({error}): free some space or choose another hydra.run.dir"
        ) from None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all."""
    write_whole(path, lambda partial: partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file, empty where there is no file."""
    if not path.exists():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
