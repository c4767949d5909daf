"""Artifacts of a sqlite store that was moved or copied: MLflow's absolute paths to them are led to where they are now.

Those that expkit gives out lie in mlartifacts/ beside the store, in a folder for each experiment.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.request import url2pathname

from expkit.urls import file_url

log = logging.getLogger(__name__)

ARTIFACTS = "mlartifacts"
MARK = {"expkit.artifacts": "beside the store"}
"""The tag of an experiment whose artifacts lie where expkit put them; others may lie anywhere."""
LOCATIONS = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow with paths below an experiment's own."""
EXPERIMENTS = """
SELECT experiment_id, artifact_location,
       EXISTS (SELECT * FROM experiment_tags AS tags WHERE tags.experiment_id = experiments.experiment_id AND key = ?)
FROM experiments
"""


def location_of(store: Path, experiment: str) -> str:
    """The location of an experiment's artifacts, beside the store."""
    return file_url(store.parent / ARTIFACTS / experiment)


def take_along(store: Path) -> None:
    """Lead the artifact locations of a store that was moved to where its mlartifacts/ is now, which is said in a line.

    A copy without its artifacts goes on with new ones of its own, and finds the earlier ones where they are.
    """
    origins = set()
    with closing(sqlite3.connect(store, timeout=60)) as database, database:
        for number, location, is_ours in database.execute(EXPERIMENTS, tuple(MARK)).fetchall():
            was = path_of(location)
            if was is None or ARTIFACTS not in was.parts or was.is_relative_to(store.parent / ARTIFACTS):
                continue
            depth = was.parts[::-1].index(ARTIFACTS)
            here = store.parent.joinpath(*was.parts[-depth - 1 :])
            came_along = here.exists() or not was.exists()
            if came_along or is_ours:
                origins.add(was.parents[depth])
                location_here = file_url(here)
                database.execute(
                    "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (location_here, number)
                )
            for table, column in LOCATIONS if came_along else ():
                lead(database, table, column, location, location_here)
    for origin in sorted(origins):
        log.warning("%s came from %s: its artifacts are those in %s now", store, origin, store.parent / ARTIFACTS)


def path_of(location: str | None) -> Path | None:
    """The path of an artifact location, None where it is none of this machine's."""
    if location is None or not location.startswith(("/", "file:///")):
        return None
    return Path(url2pathname(location.removeprefix("file://"))) if location.startswith("file:") else Path(location)


def lead(database: sqlite3.Connection, table: str, column: str, old: str, new: str) -> None:
    """Put `new` in place of `old` where a column's value is a path below it."""
    database.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
        (new, len(old) + 1, len(old) + 1, f"{old}/"),
    )
