"""report.html: one page that says what a run came to, whole in itself, so that it can be sent and opens offline."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from expkit import page
from expkit.command import command
from expkit.config.files import load_yaml
from expkit.data.items import Data
from expkit.errors import UserError
from expkit.record.predictions import Predictions
from expkit.record.recorder import read_metrics
from expkit.report.answer import scores_of, trained_on, uses_of
from expkit.report.examples import Mistakes
from expkit.run_folder import RunFolder
from expkit.urls import hide
from expkit.whole_files import read_json


@dataclass(frozen=True)
class Content:
    """What a page is made of, besides what lies in the run's folder."""

    result: Mapping[str, Any]
    """As result.json has it."""
    found: Predictions | None
    """On the validation images; None where the run left none."""
    mistakes: Mistakes | None
    data: Data | None
    """None where the images are gone."""
    lacking: str = ""
    """Why there are no images."""
    unexplained: str = ""
    """Why there is no Grad-CAM."""


def write_page(folder: RunFolder, content: Content) -> Path:
    """Write report.html in a run's folder; gives its path. Raises UserError where a file of the run is damaged."""
    path = folder.path / "report.html"
    page.write_page(path, "expkit.report", **facts_of(folder, content))
    return path


def facts_of(folder: RunFolder, content: Content) -> dict[str, Any]:
    """The values that the page shows, by the names that it has for them."""
    result, found = content.result, content.found
    run, config = read_json(folder.facts), load_yaml(folder.config)
    groups = ("model", "optim", "sched", "transfer")
    if lacking := next((group for group in groups if group not in config), None):
        raise UserError(f"{folder.config} has no {lacking}: put a whole copy in its place")
    nodes = {group: OmegaConf.to_container(config[group], resolve=True) for group in groups}
    return {
        "content": content,
        "result": result,
        "name": folder.path.name,
        "experiment": folder.experiment,
        "scores": scores_of(result, int(found.right.sum()), len(found.labels)) if found else [],
        "chance": float(np.bincount(found.labels).max() / len(found.labels)) if found else None,
        "trained_on": trained_on(result, nodes),
        "uses": uses_of(folder),
        "made_by": hide(command(*run.get("overrides", []))),
        "warnings": warnings_of(folder),
        "charts": {path.stem: page.of_file(path) for path in sorted(folder.plots.glob("*.png"))},
        "history": read_metrics(folder, result["epochs"])[1],
        "classes": classes_of(content),
        "counts": result.get("images", {}),
        "evaluations": evaluations_of(folder),
        "config": hide(folder.config.read_text(encoding="utf-8")),
    }


def warnings_of(folder: RunFolder) -> list[str]:
    """What the run was warned of, each once."""
    if not folder.log.exists():
        return []
    lines = hide(folder.log.read_text(encoding="utf-8", errors="replace")).splitlines()
    return list(dict.fromkeys(line.partition(": ")[2] for line in lines if " WARNING " in line))


def classes_of(content: Content) -> list[dict[str, Any]]:
    """A row for each class: its images by part, precision, recall and F1; the lowest F1 first."""
    names = content.result["classes"]
    parts = parts_of(content.data, len(names)) if content.data else {}
    rows: list[dict[str, Any]] = [
        {"class": name} | {part: int(counts[number]) for part, counts in parts.items()}
        for number, name in enumerate(names)
    ]
    if content.found:
        matrix = content.found.matrix
        images, taken, right = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
        for number, row in enumerate(rows):
            row["valid"] = int(images[number])
            if images[number]:
                row["precision"] = float(right[number] / max(taken[number], 1))
                row["recall"] = float(right[number] / images[number])
                row["f1"] = float(2 * right[number] / (images[number] + taken[number]))
    return sorted(rows, key=lambda row: row.get("f1", 2.0))


def parts_of(data: Data, classes: int) -> dict[str, Any]:
    """How many labelled images each class has, by part."""
    parts = {"train": data.train, "valid": data.valid, "test": data.test}
    return {
        name: np.bincount(images.labels[images.labels >= 0], minlength=classes)
        for name, images in parts.items()
        if images is not None
    }


def evaluations_of(folder: RunFolder) -> list[dict[str, Any]]:
    """What was scored after training: for each evaluation its metrics by part, and the pictures."""
    found = []
    for path in sorted(folder.path.glob("evaluations/*/evaluation.json")):
        told = read_json(path, "parts")
        pictures = [page.of_file(one) for one in sorted(path.parent.glob("*.png"))]
        found.append({"name": path.parent.name, **told, "pictures": pictures})
    return found
