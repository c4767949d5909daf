"""All that a trained model needs to be built again and to read images, as plain values."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from expkit.check import Count, check_value
from expkit.command import command, shown
from expkit.config.files import load_yaml
from expkit.config.schema import check_node
from expkit.errors import UserError, named
from expkit.model.weights_file import digest
from expkit.run_folder import RunFolder
from expkit.secrets import resolved
from expkit.whole_files import read_json

log = logging.getLogger("expkit")


def what_serves(folder: RunFolder, weights: Path) -> dict[str, Any]:
    """What `Trained` is made of, besides the `weights` in a file, and no more of a run: not where its data came from.

    Of a run that is not finished, as far as it came; raises UserError where that is not far enough, or its config.yaml
    is damaged.
    """
    config, outcome = load_yaml(folder.config), outcome_of(folder)
    model, augment = (node_of(config, name, folder) for name in ("model", "augment"))
    if "weights" in model:
        model["weights"] = None  # those of the run are loaded
    return {
        "model": model,
        "augment": augment,
        "image_size": config.image_size,
        "reading": outcome["reading"],
        "precision": outcome["precision"],
        "features": outcome.get("features"),
        "classes": outcome["classes"],
        "temperature": temperature_for(weights, folder),
    }


def temperature_for(weights: Path, folder: RunFolder) -> float:
    """The temperature that was fitted for weights of a run; 1, with a warning, where it was fitted for earlier ones."""
    kept = read_json(folder.calibration)
    if "weights" in kept and kept["weights"] != digest(weights):
        again = command(f"run={shown(folder.path)}", "task=evaluate", "task.calibrate=true")
        log.warning(
            "%s is of other weights than %s, so it is not used; fit it by  %s", folder.calibration, weights, again
        )
        return 1.0
    return float(kept.get("temperature", 1.0))


def outcome_of(folder: RunFolder) -> dict[str, Any]:
    """The result of a run; of one that is not finished, what it wrote down of it as it began.

    Raises UserError where there is neither, and where an earlier version of expkit did not write what is needed.
    """
    if folder.result.exists():
        result = read_json(folder.result, "classes")
        if lacking := next((key for key in ("reading", "precision") if key not in result), None):
            raise UserError(
                f"{folder.result} lacks {lacking!r}, as of a run of an earlier version of expkit: its model cannot be "
                "used as it was validated, so train it again with this version"
            )
        return result
    begun: dict[str, Any] | None = read_json(folder.facts).get("outcome")
    if begun is None:
        raise UserError(
            f"{folder.path} is not finished, and did not come far enough to be used: go on with it by  "
            f"{command(f'resume={folder.path}')}"
        )
    return begun


def node_of(config: DictConfig, group: str, folder: RunFolder) -> dict[str, Any]:
    """The node of a group in a run's config as plain values. Raises UserError where there is none."""
    node = config.get(group)
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise UserError(f"{folder.config} has no {group} with a _target_: put a whole copy in its place")
    return resolved(node)


def check(served: Mapping[str, Any], folder: RunFolder) -> None:
    """Raise UserError for what a run's files may not name, or cannot mean: they may come from anyone, and be edited."""
    with named(str(folder.config)):
        for group in ("augment", "model"):
            check_node(group, served[group], group)
        check_value("image_size", served["image_size"], Count)
    problem, twice = "", [name for name, count in Counter(served["classes"]).items() if count > 1]
    if served["precision"] not in ("fp32", "bf16"):
        problem = f"precision must be fp32 or bf16, got {served['precision']!r}"
    elif twice:
        problem = f"classes has {twice[0]!r} twice"
    if problem:
        file = folder.result if folder.result.exists() else folder.facts
        raise UserError(f"{file} is damaged ({problem}): put a whole copy in its place")
