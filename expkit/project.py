"""Projects that move: what lies below the directory that a run was started in is written relative to it, or to the run.

A project is that directory. Its run folders, its store and its data may be renamed or copied together, and are found
again from where the run folder is now; nothing absolute is believed of what lies below it.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expkit.urls import hide, query_of, sqlite_path, sqlite_url

log = logging.getLogger("expkit")


def place_of(folder: Path) -> dict[str, str]:
    """The facts of a run that lead back to its project, which is the working directory.

    `started_in` is the project's path from the run folder, and `place` that folder's from the project; where it does
    not lie below, `started_in` is absolute and alone.
    """
    folder, project = folder.resolve(), Path.cwd().resolve()
    if folder.is_relative_to(project) and folder != project:
        return {"started_in": os.path.relpath(project, folder), "place": str(folder.relative_to(project))}
    return {"started_in": str(project)}


def project_of(folder: Path, facts: Mapping[str, Any]) -> Path:
    """The project of a run as it is now; where it cannot be found, the working directory, which is said in a line."""
    folder = folder.resolve()
    if place := facts.get("place"):
        if not was_moved(folder, facts):
            return folder.parents[len(Path(place).parts) - 1]
        why = f"it lay at {place} of its project, and was moved from there"
    elif Path(facts["started_in"]).is_dir():
        return Path(facts["started_in"])
    else:
        why = f"{facts['started_in']}, where it was started, is gone"
    log.warning("%s: %s, so relative paths of its config lead from the working directory %s", folder, why, Path.cwd())
    return Path.cwd()


def was_moved(folder: Path, facts: Mapping[str, Any]) -> bool:
    """Whether a run's folder lies elsewhere in a project than where it was made, or in none."""
    place = Path(facts.get("place") or "").parts
    return folder.resolve().parts[-len(place) :] != place if place else False


def relocatable(node: Any) -> Any:
    """Nested config values with paths relative that lie below the project, those of sqlite URLs too."""
    if isinstance(node, Mapping):
        return {key: relocatable(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [relocatable(value) for value in node]
    if not isinstance(node, str):
        return node
    project = Path.cwd()
    if (path := sqlite_path(node)) and path.is_relative_to(project):
        return sqlite_url(path.relative_to(project)) + query_of(node)
    if node.startswith("/") and Path(node).is_relative_to(project) and project != Path("/"):
        return str(Path(node).relative_to(project))
    return node


def kept_url(url: str, folder: Path) -> str:
    """A store's address as a file in `folder` keeps it: without a password, and relative to the folder for sqlite.

    Relative where both lie below the project, or the folder lies below the store's: those move together.
    """
    path = sqlite_path(url)
    if path is None:
        return hide(url)
    folder, project = folder.resolve(), Path.cwd().resolve()
    together = all(one.is_relative_to(project) for one in (path, folder)) and project != Path("/")
    if together or folder.is_relative_to(path.parent):
        return sqlite_url(Path(os.path.relpath(path, folder))) + query_of(url)
    return url


def found_url(kept: str, folder: Path) -> str:
    """The address that `kept_url` wrote into `folder`, from where that is now."""
    path = sqlite_path(kept)
    return kept if path is None else sqlite_url((folder.resolve() / path).resolve()) + query_of(kept)
