"""Grids that were stopped: the same command finds its grid again and goes on with it, as a sweep does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from expkit.command import override, shown
from expkit.config.edited import HARMLESS, differences, plain_values, within
from expkit.config.schema import Config
from expkit.errors import UserError, first_ten
from expkit.run_folder import RunFolder, as_yaml, read_back
from expkit.screen import say
from expkit.secrets import typed_overrides
from expkit.whole_files import read_json

HELD: dict[Path, FileLock] = {}
"""The locks of the grids that this process runs; they go with it, however it ends."""


def asked(config: DictConfig) -> dict[str, Any]:
    """What decides which jobs a grid has: the overrides of its command line and of a sweep's file."""
    params = config.hydra.sweeper.get("params")
    overrides = typed_overrides(config.hydra)
    return {"overrides": overrides, "searched": OmegaConf.to_container(params) if params else {}}


def take_up(config: DictConfig) -> bool:
    """Whether the grid in the folder that `config` names is gone on with, or one of the same command that was stopped.

    Such a one is looked for where the folder is not told, and `config` then names it. Raises UserError where the
    folder told holds a grid of other jobs.
    """
    folder = Path(config.hydra.sweep.dir)
    if is_grid(folder):
        if not is_alike(folder, config):
            told = " ".join(read_json(folder / "run.json", "overrides")["overrides"])
            raise UserError(f"{folder} holds a grid of other jobs ({told}): choose another hydra.sweep.dir")
        tell(folder)
        return True
    if any(one.startswith("hydra.sweep.dir=") for one in config.hydra.overrides.hydra):
        return False
    alike = [path for path in folder.parent.glob("sweep_*") if is_grid(path) and is_alike(path, config)]
    for path in sorted(alike, key=lambda path: path.name, reverse=True)[:1]:
        if "ended" not in read_json(path / "run.json") and not is_held(path):
            name(config, path)
            tell(path)
            return True
    return False


def is_grid(folder: Path) -> bool:
    """Whether a folder is that of a grid."""
    return read_json(folder / "run.json").get("kind") == "grid"


def is_alike(folder: Path, config: DictConfig) -> bool:
    """Whether the grid in a folder has the jobs that `config` asks for."""
    facts = read_json(folder / "run.json")
    return all(facts.get(key) == value for key, value in plain_values(asked(config)).items())


def name(config: DictConfig, folder: Path) -> None:
    """Let the grid of `config` be in this folder, also in the configs of its jobs, which Hydra composes anew."""
    with read_write(config), open_dict(config):
        config.hydra.sweep.dir = str(folder)
        config.hydra.overrides.hydra.append(override("hydra.sweep.dir", str(folder)))


def tell(folder: Path) -> None:
    """Tell which grid is gone on with."""
    finished = len(list(folder.glob("*/result.json")))
    say(f"going on with the grid {shown(folder.resolve())}: {finished} of its jobs have finished")


def hold(folder: Path) -> None:
    """Hold a grid for this process. Raises UserError where another one runs it."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{folder} is in use: another process runs this grid; wait for it or stop it") from None
    HELD[folder] = lock


def release() -> None:
    """Let go of what `hold` holds, in a process that goes on."""
    while HELD:
        HELD.popitem()[1].release()


def is_held(folder: Path) -> bool:
    """Whether a living process runs a grid."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def is_sent(mode: RunMode | None) -> bool:
    """Whether this process is one that the launcher of a grid has started for its jobs; it does not hold the grid."""
    return mode == RunMode.MULTIRUN and not HELD


def job_again(folder: RunFolder, config: Config, overrides: list[str]) -> RunFolder:
    """The folder of a job that began before, its config as it is written. Raises UserError where it was another job."""
    facts = read_json(folder.facts, "overrides")
    before: Mapping[str, Any] = facts.get("config") or {}
    now = plain_values(read_back(as_yaml(vars(config))))
    changed = [line for key, line in differences(before, now) if not within(key, HARMLESS)]
    if facts["overrides"] != overrides or changed:
        told = f":\n{first_ten(changed)}\n" if changed else f" ({' '.join(facts['overrides'])}); "
        raise UserError(f"{folder.path} holds a job that began otherwise{told}choose another hydra.sweep.dir")
    return folder
