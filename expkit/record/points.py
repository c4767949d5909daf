"""Metrics that come to a run after its training: more lines of metrics.jsonl, which tracking is fed from."""

import json
import time
from collections.abc import Mapping
from io import FileIO

from expkit.json_shapes import point_of
from expkit.record.recorder import read_metrics
from expkit.run_folder import RunFolder
from expkit.whole_files import append, writing


def add_points(folder: RunFolder, metrics: Mapping[str, float]) -> None:
    """Write metrics at the run's last epoch, but for those that have the same value there already.

    Raises UserError where the file is damaged, or the disk is full.
    """
    steps, _ = read_metrics(folder, 0)  # which cuts off a line that a killed run left half written
    step, known = steps.get("valid_loss", 0), last_values(folder)
    now = int(time.time() * 1000)
    lines = [
        json.dumps({"name": name, "value": value, "step": step, "timestamp": now}) + "\n"
        for name, value in metrics.items()
        if known.get(name) != (step, value)
    ]
    with writing(folder.metrics), FileIO(folder.metrics, "a") as file:
        append(file, "".join(lines).encode())


def last_values(folder: RunFolder) -> dict[str, tuple[int, float]]:
    """The last step and value of each metric."""
    if not folder.metrics.exists():
        return {}
    with open(folder.metrics, "rb") as file:
        points = [point_of(line, f"{folder.metrics}, line {number},") for number, line in enumerate(file, start=1)]
    return {name: (step, value) for name, value, step, _ in points}
