"""A run as it is compared: its config, its curves, what it came to, and what it said of each validation image."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from expkit.config.files import load_yaml
from expkit.config.schema import BETTER
from expkit.errors import UserError
from expkit.json_shapes import point_of
from expkit.record.predictions import Predictions, read_predictions
from expkit.record.recorder import best_epoch
from expkit.run_folder import RunFolder
from expkit.whole_files import read_json


@dataclass(frozen=True)
class Compared:
    """A run, finished or not."""

    folder: RunFolder
    name: str
    """What a person calls it: trial 3, job 0, or its folder."""
    config: Mapping[str, Any]
    history: list[dict[str, float]]
    """The metrics of each epoch, from 1."""
    result: Mapping[str, Any]
    """As result.json has it; empty while the run is not finished."""
    classes: tuple[str, ...] | None
    """None where an earlier version left no list of them."""
    fingerprint: str | None
    found: Predictions | None
    """On the validation images, of the best epoch; None where the run left none."""

    @property
    def objective(self) -> str:
        """The metric that the run is judged by."""
        return str(self.config["objective"]["metric"])

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, whose metrics are the run's scores, and whose predictions are kept."""
        return best_epoch(self.history, self.objective)

    @property
    def seed(self) -> int:
        """What all its random draws follow from."""
        return int(self.config["seed"])

    def score(self, metric: str) -> float | None:
        """A metric of the run: of the epoch that its objective names, else of the best one so far."""
        if self.result and metric == self.objective:
            value: float | None = self.result["objective"]["value"]
            return value
        return self.history[self.best_epoch - 1].get(metric)

    @property
    def test_accuracy(self) -> float | None:
        """The accuracy on the test set, where training ended with it."""
        value: float | None = self.result.get("test", {}).get("metrics", {}).get("accuracy")
        return value


def read_run(folder: RunFolder) -> Compared:
    """Read a run. Raises UserError for one that has not ended an epoch, and where a file of it is damaged."""
    facts = read_json(folder.facts)
    result = read_json(folder.result)
    if result:
        read_json(folder.result, "objective", "epochs", "seconds")
    known = {**facts.get("outcome", {}), **result}
    config = plain(folder.config)
    history = history_of(folder.metrics)
    if not history:
        raise UserError(f"{folder.path} has not ended an epoch yet, so there is nothing to compare: leave it out")
    classes = tuple(known["classes"]) if "classes" in known else None
    has_predictions = classes is not None and folder.predictions.exists()
    return Compared(
        folder,
        str(facts.get("name") or job_of(facts) or folder.path.name),
        config,
        history,
        result,
        classes,
        known.get("fingerprint", facts.get("fingerprint")),
        read_predictions(folder.predictions, classes or ()) if has_predictions else None,
    )


def plain(path: Path) -> dict[str, Any]:
    """A run's config as plain values. Raises UserError where it lacks what every one has."""
    values = OmegaConf.to_container(load_yaml(path))
    if not isinstance(values, dict) or not {"seed", "objective", "data", "model"} <= values.keys():
        raise UserError(f"{path} is no whole config of a run: put a whole copy in its place")
    return {str(key): value for key, value in values.items()}


def job_of(facts: Mapping[str, Any]) -> str:
    """What a job of a grid is called, empty for any other run."""
    params = facts.get("params", {})
    return f"job {params['job']}" if "job" in params else ""


def history_of(path: Path) -> list[dict[str, float]]:
    """The metrics of each epoch in metrics.jsonl, which a run may be writing: a line half written is left out."""
    epochs = defaultdict[int, dict[str, float]](dict)
    with open(path, "rb") if path.exists() else BytesIO() as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            name, value, step, _ = point_of(line, f"{path}, line {number},")
            if name in BETTER:
                epochs[step][name] = value
    return [epochs[epoch] for epoch in sorted(epochs) if epochs[epoch].keys() == BETTER.keys()]
