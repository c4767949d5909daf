"""Runs within runs: the trials of a study, the jobs of a grid.

A parent is a folder with the folders of its nested runs below it and a run.json of its own. These keys of run.json
are for tracking, besides those that every run has (`expkit.run_folder.start_facts`):

| key | of | meaning |
|---|---|---|
| `parent` | a nested run | path of the parent's folder, from the run's own |
| `choices` | a run | the choice of each group of the config: `{"model": "resnet34"}` |
| `params`, `tags` | any | sent besides the config: `{"trial": 3}` |
| `fingerprint` | a run | of its data, once known; sent as a tag |
| `model` | a run | false: neither checkpoints nor the model are sent, until it becomes true |
| `register` | a run | the registered model that its model becomes a version of |
| `system_metrics` | a run | true: the load of the machine is sent while it trains |
| `name` | any | how the run is called, before what a trial overrides; a parent must have it |
| `kind` | a parent | `study`: one run of this name in the experiment, whichever machines work at it; `grid` |
| `tracking` | a parent | the config node that says where it is tracked |
| `store` | any | the store that it was first tracked in, where the config does not name one |

How a run ended, end.json says: `status`, `time` (milliseconds since 1970), `tags`.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from omegaconf import OmegaConf

from expkit.config.files import load_yaml
from expkit.project import found_url, kept_url
from expkit.run_folder import RunFolder, refuse_links, start_facts
from expkit.secrets import warn_of_password
from expkit.urls import hide, sqlite_path
from expkit.whole_files import read_json, write_json

INTERNAL = ("end.json", "tracking.json", "tracking.log", "traces.bin")
"""Files of a run folder that stay there."""
WITHDRAWN = "WITHDRAWN"
"""The end of a run that was refused before anything came of it: the store shall have nothing of it."""
LIVE = (".db", ".db-journal", ".db-wal", ".db-shm", ".lock")
"""Suffixes of files that a sweep works on while it is sent."""


def make_parent(
    path: Path,
    experiment: str,
    *,
    kind: Literal["study", "grid"],
    name: str,
    tracking: Mapping[str, Any],
    overrides: Sequence[str] = (),
    **facts: Any,
) -> RunFolder:
    """The folder of a study or a grid, made where it is new; several processes may make it at the same time.

    It is tracked as any run is: its tracker is built, and its `start()` and `finish(...)` called,
    by the one process that starts the others and waits for them.
    """
    path.mkdir(parents=True, exist_ok=True)
    refuse_links(path, nested=False)
    folder = RunFolder(path.resolve(), experiment)
    with FileLock(path / ".create.lock"):
        began = {key: value for key, value in read_json(folder.facts).items() if key in ("started", "store")}
        facts = {"kind": kind, "name": hide(name), "tracking": dict(tracking)} | facts
        write_json(folder.facts, start_facts(path, experiment, overrides) | facts | began)
        warn_of_password(str(facts["tracking"]), folder.facts)
    return folder


def path_to_parent(parent: Path, folder: Path) -> str:
    """The fact `parent` of a run in `folder`: both may be moved together."""
    return os.path.relpath(parent.resolve(), folder.resolve())


def parent_of(path: Path) -> Path | None:
    """The folder of a run's parent; None where the run is on its own, or the parent is gone."""
    told = read_json(path / "run.json").get("parent")
    parent = (path / told).resolve() if told else None
    return parent if parent and (parent / "run.json").exists() else None


def end_of(path: Path) -> dict[str, Any] | None:
    """How the run in a folder ended, as end.json says; None while it lasts, and where nobody could say."""
    end = read_json(path / "end.json")
    return read_json(path / "end.json", "status", "time", "tags") if end else None


def write_end(path: Path, status: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Write end.json, so that the end is known whatever happens to the process; gives its content."""
    end = {"status": status, "time": int(time.time() * 1000), "tags": dict(tags)}
    write_json(path / "end.json", end)
    return end


def data_of(path: Path) -> dict[str, Any]:
    """What a run's folder says of its images: fingerprint, class names, and how many each set has; empty before."""
    facts, result = read_json(path / "run.json"), read_json(path / "result.json")
    known = facts | facts.get("outcome", {}) | result
    names = ("fingerprint", "classes", "images")
    return {name: known[name] for name in names} if all(known.get(name) for name in names) else {}


def config_in(path: Path) -> dict[str, Any]:
    """The config in a run's folder, references as such; empty for a parent."""
    file = RunFolder(path, "").config
    found = OmegaConf.to_container(load_yaml(file), resolve=False) if file.exists() else {}
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def is_tracked(path: Path) -> bool:
    """Whether the run in a folder is, or shall be, in a store."""
    return (path / "tracking.json").exists() or (path / "end.json").exists()


def is_in(progress: Mapping[str, Any], uri: str, path: Path) -> bool:
    """Whether the tracking.json of a folder speaks of the store at `uri`."""
    return "uri" in progress and found_url(progress["uri"], path) == hide(uri)


def tag_of(path: Path, uri: str) -> str:
    """How the store at `uri` names a run folder: from the store's own where both move together, else absolutely."""
    store, kept = sqlite_path(uri), sqlite_path(kept_url(uri, path))
    together = store and kept and not kept.is_absolute()
    return os.path.relpath(path.resolve(), store.parent) if store and together else str(path.resolve())


def tagged_folder(tag: str, uri: str) -> Path:
    """The run folder that `tag_of` named."""
    store = sqlite_path(uri)
    return (store.parent / tag).resolve() if store else Path(tag)


def is_sent(path: Path, uri: str) -> bool:
    """Whether the store at `uri` has everything of the run in a folder."""
    progress = read_json(path / "tracking.json")
    if not is_in(progress, uri, path) or "status" not in progress or has_more(path, progress):
        return False
    return progress["status"] != "FINISHED" or has_model(path, progress)


def has_model(path: Path, progress: Mapping[str, Any]) -> bool:
    """Whether the store that tracking.json speaks of has the model of a run as it is to: logged, registered, or not."""
    name = read_json(path / "run.json").get("register")
    is_registered = name is None or progress.get("registered", {}).get("name") == name
    return (is_logged(path, progress) and is_registered) or not wants_model(path)


def is_logged(path: Path, progress: Mapping[str, Any]) -> bool:
    """Whether the store that tracking.json speaks of has the model of a run as it is now."""
    temperature = read_json(RunFolder(path, "").calibration).get("temperature")
    return bool(progress.get("model")) and progress.get("temperature") == temperature


def has_more(path: Path, progress: Mapping[str, Any]) -> bool:
    """Whether there is more to say of the run in a folder than tracking.json remembers.

    Metrics come by an evaluation, images by a version that says which they are.
    """
    metrics = RunFolder(path, "").metrics
    if metrics.exists() and metrics.stat().st_size > progress.get("sent", 0):
        return True
    return progress.get("inputs") != data_of(path).get("fingerprint")


def wants_model(path: Path) -> bool:
    """Whether the weights in a run's folder are to be sent: those of a study's trials wait for the best to be known."""
    folder = RunFolder(path, "")
    return folder.exported_weights.exists() and bool(read_json(folder.facts).get("model", True))


def nested_in(path: Path) -> Iterator[Path]:
    """The folders of the runs nested in a parent's, each once, in the order of their names."""
    for top, folders, files in os.walk(path):
        if top != str(path) and "run.json" in files:
            folders.clear()
            yield Path(top)
        folders.sort(key=lambda name: (len(name), name))


def records_of(path: Path) -> Iterator[Path]:
    """The files of a run folder that say something of the run; those of nested runs are theirs."""
    for top, folders, files in os.walk(path):
        if top != str(path) and ("run.json" in files or ".hydra" in folders):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name == ".hydra" or not name.startswith("."))
        for name in sorted(files):
            if name not in INTERNAL and not name.startswith(".") and not name.endswith(LIVE):
                yield Path(top, name)
