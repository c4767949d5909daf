"""All that a trained model needs to be built again and to read images, as plain values."""

from typing import Any

from omegaconf import OmegaConf

from expkit.command import command
from expkit.config.files import load_yaml
from expkit.errors import UserError
from expkit.run_folder import RunFolder, read_json
from expkit.trained.own_code import LIBRARIES


def what_serves(folder: RunFolder) -> dict[str, Any]:
    """What `Trained` is made of, besides weights, and no more of a run: not where its data came from.

    Of a run that is not finished, as far as it came; raises UserError where that is not far enough.
    """
    config, outcome = load_yaml(folder.config), outcome_of(folder)
    model, augment = (dict(plain(getattr(config, name))) for name in ("model", "augment"))
    if "weights" in model:
        model["weights"] = None  # those of the run are loaded
    tops = {str(node["_target_"]).partition(".")[0] for node in (model, augment)}
    return {
        "model": model,
        "augment": augment,
        "own": sorted(tops.difference(LIBRARIES)),
        "image_size": config.image_size,
        "reading": outcome.get("reading", {}),
        "precision": outcome.get("precision", "fp32"),
        "features": outcome.get("features"),
        "classes": outcome["classes"],
        "temperature": read_json(folder.calibration).get("temperature", 1.0),
    }


def outcome_of(folder: RunFolder) -> dict[str, Any]:
    """The result of a run; of one that is not finished, what it wrote down of it as it began.

    Raises UserError where there is neither.
    """
    if folder.result.exists():
        return read_json(folder.result, "classes")
    begun: dict[str, Any] | None = read_json(folder.facts).get("outcome")
    if begun is None:
        raise UserError(
            f"{folder.path} is not finished, and did not come far enough to be used: go on with it by  "
            f"{command(f'resume={folder.path}')}"
        )
    return begun


def plain(node: Any) -> Any:
    """A node of a config as plain values."""
    return OmegaConf.to_container(node, resolve=True)
