"""What an LR finder leaves in the run folder: its curve, the suggestions, their picture, and metrics for tracking."""

import json
import time
from collections.abc import Iterator, Mapping
from functools import partial
from io import FileIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from expkit.config.lr_find import LrFind
from expkit.lr_finder.plot import draw_lr_find
from expkit.lr_finder.suggestions import Curve
from expkit.record.recorder import read_metrics
from expkit.run_folder import RunFolder
from expkit.whole_files import append, write_json, write_whole, writing


def write_search(folder: RunFolder, name: str, curve: Curve, found: Mapping[str, float], settings: LrFind) -> float:
    """Write `name`.parquet, plots/`name`.png, the metrics `name`/..., and last `name`.json; the learning rate to use.

    Raises UserError where the folder cannot be written.
    """
    lr = found[settings.suggest] * settings.scale
    columns = {"lr": curve.lrs, "loss": curve.losses, "smoothed": curve.smoothed}
    table = pa.table({"step": np.arange(len(curve.lrs)), **columns})
    write_whole(folder.path / f"{name}.parquet", partial(pq.write_table, table))
    draw_lr_find(folder.plots / f"{name}.png", curve, found, settings.suggest, settings.scale)
    append_metrics(folder, name, curve, {**found, "chosen": lr})
    summary = {"lr": lr, "suggest": settings.suggest, "scale": settings.scale, "suggestions": dict(found)}
    write_json(folder.path / f"{name}.json", {**summary, "steps": len(curve.lrs), "num_it": curve.num_it})
    return lr


def append_metrics(folder: RunFolder, name: str, curve: Curve, values: Mapping[str, float]) -> None:
    """Add the curve, by step, and single values to metrics.jsonl, but for what an earlier process put there."""
    written, _ = read_metrics(folder, 0)
    now = int(time.time() * 1000)
    lines = [
        json.dumps({"name": f"{name}/{metric}", "value": value, "step": step, "timestamp": now}) + "\n"
        for metric, value, step in metrics_of(curve, values)
        if np.isfinite(value) and step > written.get(f"{name}/{metric}", -1)
    ]
    with writing(folder.metrics), FileIO(folder.metrics, "a") as file:
        append(file, "".join(lines).encode())


def metrics_of(curve: Curve, values: Mapping[str, float]) -> Iterator[tuple[str, float, int]]:
    """Name, value and step of everything that tracking shows of a search."""
    for step, point in enumerate(zip(curve.lrs.tolist(), curve.losses.tolist(), curve.smoothed.tolist(), strict=True)):
        for metric, value in zip(("lr", "loss", "smoothed"), point, strict=True):
            yield metric, value, step
    for metric, value in values.items():
        yield metric, value, 0
