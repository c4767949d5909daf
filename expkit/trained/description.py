"""All that a trained model needs to be built again and to read images, as plain values."""

from typing import Any

from omegaconf import OmegaConf

from expkit.run_folder import RunFolder, read_json
from expkit.trained.own_code import LIBRARIES


def what_serves(folder: RunFolder) -> dict[str, Any]:
    """What `Trained` is made of, besides weights, and no more of a finished run: not where its data came from."""
    config, result = OmegaConf.load(folder.config), read_json(folder.result)
    model, augment = (dict(plain(getattr(config, name))) for name in ("model", "augment"))
    if "weights" in model:
        model["weights"] = None  # those of the run are loaded
    tops = {str(node["_target_"]).partition(".")[0] for node in (model, augment)}
    return {
        "model": model,
        "augment": augment,
        "own": sorted(tops.difference(LIBRARIES)),
        "image_size": config.image_size,
        "reading": result.get("reading", {}),
        "precision": result.get("precision", "fp32"),
        "features": result.get("features"),
        "classes": result["classes"],
    }


def plain(node: Any) -> Any:
    """A node of a config as plain values."""
    return OmegaConf.to_container(node, resolve=True)
