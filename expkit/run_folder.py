"""The folder that a run leaves: where each of its files lies, and how a run is found again."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from expkit.command import command, shown
from expkit.errors import UserError
from expkit.project import place_of, relocatable
from expkit.secrets import warn_of_password
from expkit.urls import hide
from expkit.whole_files import read_json, write_json, write_whole, writing

RUN_FILES = (
    *("audit", "calibration.json", "checkpoints", "comparison", "config.yaml", "end.json", "evaluations", "expkit.log"),
    "metrics.jsonl",
    *(
        "plots",
        "predictions.parquet",
        "report.html",
        "result.json",
        "run.json",
        "traces.bin",
        "traces.parquet",
        "tracking.json",
    ),
)
"""What a run writes in its folder."""


@dataclass(frozen=True)
class RunFolder:
    """`outputs/<experiment>/<date>_<time>/` and its files."""

    path: Path
    experiment: str

    @classmethod
    def create(
        cls, path: Path, experiment: str, config: Mapping[str, Any], overrides: Sequence[str], **facts: Any
    ) -> "RunFolder":
        """The folder of a new run, with its config and what else is known of it (`expkit.tracking.nested` says what).

        Raises UserError where `path` holds a run already.
        """
        folder = cls(path, experiment)
        refuse_run(path)
        hide_in_files(path / ".hydra")
        text = as_yaml(config)
        if "parent" not in facts:
            warn_of_password(text, folder.config)
        began_with = {"config": hidden(read_back(text))}  # config.yaml may be edited, this is not
        write_json(folder.facts, start_facts(path, experiment, overrides) | began_with | facts)
        write_whole(folder.config, lambda partial: partial.write_text(text, encoding="utf-8"))
        return folder

    @classmethod
    def at(cls, path: Path) -> "RunFolder":
        """The folder of an earlier run. Raises UserError where that is none."""
        owners = (one for one in path.absolute().parents if is_record(one))
        if path.exists() and not (path / "config.yaml").exists() and (owner := next(owners, None)):
            raise UserError(f"{path} is a part of a run: name its folder, {shown(owner)}")
        if kind := read_json(path / "run.json").get("kind"):
            raise UserError(f"{path} is a {kind}, not a run: write best:{path} for its best run")
        if not (path / "config.yaml").is_file():
            if (path / "export.json").is_file():
                raise UserError(f"{path} is an export, which is used without expkit: name the run that it is of")
            raise UserError(f"{path} is no run folder: it has no config.yaml; give one below outputs/")
        facts = read_json(path / "run.json", "experiment")
        if not facts.get("place"):  # which leads to the project as well
            read_json(path / "run.json", "started_in")
        return cls(path.resolve(), facts["experiment"])

    @property
    def has_begun(self) -> bool:
        """Whether the run came further than to read and build what its config says."""
        return self.metrics.exists() or self.plots.exists() or "fingerprint" in read_json(self.facts)

    def note(self, **facts: Any) -> None:
        """Add to what is known of the run; only the process that holds the run may."""
        write_json(self.facts, read_json(self.facts) | facts)

    @property
    def config(self) -> Path:
        """The composed config, resolved."""
        return self.path / "config.yaml"

    @property
    def facts(self) -> Path:
        """How the run was started: experiment, overrides, and what leads to the directory of its relative paths."""
        return self.path / "run.json"

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
    def calibration(self) -> Path:
        """The temperature of a calibrated run's predictions."""
        return self.path / "calibration.json"

    @property
    def tracking(self) -> Path:
        """How far tracking has come."""
        return self.path / "tracking.json"

    @property
    def last_checkpoint(self) -> Path:
        """The trainer's whole state, to go on from."""
        return self.path / "checkpoints" / "last.pt"

    @property
    def earlier_checkpoint(self) -> Path:
        """The one before, until the run has finished: to go on from where the last is damaged."""
        return self.path / "checkpoints" / "earlier.pt"

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

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the run for this process; the lock goes with the process, however it ends.

        Raises UserError where another process works in the folder, and for links that would lead writes out of it.
        """
        refuse_links(self.path)
        lock = FileLock(self.path / ".lock")
        with writing(self.path / ".lock"):
            try:
                # The data workers of a killed run hold on to its lock for some seconds.
                lock.acquire(timeout=10)
            except Timeout:
                raise UserError(
                    f"{self.path} is in use: another process trains this run; wait for it or stop it"
                ) from None
        try:
            yield
        finally:
            lock.release()


def hide_in_files(folder: Path) -> None:
    """Take passwords out of what Hydra wrote of a run; config.yaml alone keeps one that stands there as such."""
    for path in folder.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        shown = hide(text)
        if shown != text:
            write_whole(path, partial(Path.write_text, data=shown, encoding="utf-8"))


def as_yaml(config: Mapping[str, Any]) -> str:
    """A config as config.yaml has it."""
    return OmegaConf.to_yaml(OmegaConf.create(relocatable(config)))


def read_back(text: str) -> dict[str, Any]:
    """A config as config.yaml gives it back."""
    values = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def hidden(config: dict[str, Any]) -> dict[str, Any]:
    """A config without passwords of its store, which have no part in what a run comes to."""
    tracking = config.get("tracking")
    if not isinstance(tracking, dict):
        return config
    shown = {key: hide(value) if isinstance(value, str) else value for key, value in tracking.items()}
    return {**config, "tracking": shown}


def start_facts(path: Path, experiment: str, overrides: Sequence[str]) -> dict[str, Any]:
    """What is known of every run as it starts in the folder `path`; `started` in milliseconds since 1970."""
    return {
        "experiment": experiment,
        "overrides": [hide(one) for one in overrides],
        **place_of(path),
        "started": int(time.time() * 1000),
    }


def refuse_run(path: Path, key: str = "hydra.run.dir") -> None:
    """Raise UserError where a folder holds a run already, or what a run would write over; `key` names it."""
    if (path / "config.yaml").exists() and is_record(path):
        go_on = command(f"resume={path}")
        raise UserError(f"{path} holds a run already: go on with  {go_on}  or choose another {key}")
    refuse_others(path, RUN_FILES, key)


def refuse_others(path: Path, names: Sequence[str], key: str) -> None:
    """Raise UserError where a folder that is no run's holds files that would be written over; `key` names it."""
    if not is_record(path) and (found := [name for name in names if (path / name).exists()]):
        raise UserError(f"{path} holds {found[0]}, which would be written over: choose another {key}")


def refuse_links(folder: Path, *, nested: bool = True) -> None:
    """Raise UserError for a link in a folder, and those of runs `nested` in it, that leads out of it.

    A run folder may come from anyone, and what is written into it must not land in another file of the user's.
    """
    home = os.path.realpath(folder)
    for top, folders, files in os.walk(home):
        for path in (os.path.join(top, name) for name in (*folders, *files)):
            if os.path.islink(path) and not Path(os.path.realpath(path)).is_relative_to(home):
                raise UserError(
                    f"{path} is a link out of the run's folder, to {os.path.realpath(path)}, and is not written to: "
                    "put what it leads to in its place (a link to the whole folder does no harm)"
                )
        if not nested:
            folders[:] = [name for name in folders if not os.path.lexists(os.path.join(top, name, "run.json"))]


def is_record(path: Path) -> bool:
    """Whether a folder is that of a run, a grid or a study, by its run.json."""
    try:
        return "experiment" in read_json(path / "run.json")
    except UserError:
        return False
