"""A run whose folder is not here, made again from the files that its store has of it."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock
from mlflow import MlflowClient

from expkit.data.images.file_memory import cache_folder
from expkit.project import kept_url
from expkit.run_folder import RunFolder
from expkit.tracking.nested import write_end
from expkit.whole_files import read_json, write_json, writing

NEEDED = ("config.yaml", "run.json", "result.json", "checkpoints/model.safetensors")
"""What is needed to use a model."""
ONCE = ("checkpoints/model.safetensors", "metrics.jsonl", "expkit.log")
"""What is not fetched again: it stays the same, or is added to here and sent back whole."""
FILES = (*NEEDED, "calibration.json", "metrics.jsonl", "expkit.log")
LEFT_OUT = ("place", "parent", "register")
"""What run.json says of the run's own folder alone."""


def fetch(client: MlflowClient, run_id: str, uri: str) -> Path | None:
    """The folder of a run, made in `EXPKIT_CACHE` of the files in its store; None where that lacks some.

    Raises UserError where it cannot be written.
    """
    known = {entry.path for place in ("", "checkpoints") for entry in client.list_artifacts(run_id, place)}
    if not known.issuperset(NEEDED):
        return None
    folder = RunFolder(cache_folder() / "runs" / run_id, "")
    with writing(folder.path, "EXPKIT_CACHE"):
        folder.exported_weights.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.path / ".fetch.lock"), TemporaryDirectory(dir=folder.path) as partial:
            for name in FILES:
                place = folder.path / name
                if name in known and not (name in ONCE and place.exists()):
                    os.replace(client.download_artifacts(run_id, name, partial), place)
            settle(folder, run_id, uri)
    return folder.path


def settle(folder: RunFolder, run_id: str, uri: str) -> None:
    """Make the files of a run those of a folder of its own, whose new results come to the same run of the store."""
    facts = {key: value for key, value in read_json(folder.facts).items() if key not in LEFT_OUT}
    write_json(folder.facts, facts | {"started_in": str(Path.cwd()), "store": kept_url(uri, folder.path)})
    write_end(folder.path, "FINISHED", {})
    stamps = {name: stamp(folder.path / name) for name in FILES if (folder.path / name).exists()}
    sent = folder.metrics.stat().st_size if folder.metrics.exists() else 0
    progress = read_json(folder.tracking) or {"sent": sent, "files": stamps}
    stamps = {name: found for name, found in stamps.items() if name not in ONCE}
    temperature = read_json(folder.calibration).get("temperature")
    write_json(
        folder.tracking,
        progress
        | {"uri": kept_url(uri, folder.path), "run_id": run_id, "status": "FINISHED", "fetched": True}
        | {"model": True, "temperature": temperature, "files": progress["files"] | stamps},
    )


def stamp(path: Path) -> list[int]:
    """What tells that a file has changed."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
