"""The network of a run as a file of Python that needs torch and the library of its body, but not expkit.

It is put together of the very code that expkit builds its models of, so that the two cannot drift apart.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from expkit.errors import UserError
from expkit.model import head, xresnet_body
from expkit.model.classifier import Classifier
from expkit.model.torchvision_body import CUT
from expkit.trained.own_code import requirement

FILE = "model.py"
"""What it is called in an export, beside the weights."""
WEIGHTS = "model.safetensors"

PAGE = '''"""The network of this export in plain torch: `build_model()` gives it with its weights, ready to classify.

It takes images uint8 N x 3 x H x W (RGB, prepared as preprocessing.json says) and gives logits, float32, N x classes;
`model.probabilities(images)` gives the calibrated probability of each name in classes.json.
Needs {needs}.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
{parts}


class Network(nn.Module):
    """Images to logits: normalize, body (images -> feature map), pool (-> vectors), head (-> logits)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = make_body()
        self.pool = {pool}
        self.head = {head}
        self.temperature = {temperature!r}
        # (images / 255 - mean) / std as images * scale + shift
        self.register_buffer("scale", torch.tensor({scale}).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor({shift}).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float32, N x classes."""
        return self.head(self.pool(self.body(torch.addcmul(self.shift, images, self.scale)))).float()

    def probabilities(self, images: Tensor) -> Tensor:
        """The calibrated probability of each class, float32, N x classes."""
        return (self(images) / self.temperature).softmax(dim=1)


def build_model() -> Network:
    """The network with the weights that lie beside this file, in eval mode."""
    model = Network()
    model.load_state_dict(load_file(HERE / "{weights}"))
    return model.eval()
'''
"""The file, but for what differs from model to model."""


def source_of(description: Mapping[str, Any], model: nn.Module) -> str:
    """The text of the file for the model that `expkit.trained.description` describes.

    Raises UserError for one of the user's own, whose code expkit does not have.
    """
    node = description["model"]
    make = BODIES.get(str(node["_target_"]))
    if make is None or not isinstance(model, Classifier):
        raise UserError(
            f"task.format=safetensors holds weights and the code of expkit's own models, and this one is "
            f"{node['_target_']}: give task.format=onnx or torch_export, which hold what a model of your own computes"
        )
    body, library = make(node, model)
    parts = [body]
    if isinstance(model.pool, head.Pool):
        parts.append(inspect.getsource(head.Pool))
    layers = [layer for layer in model.head.modules() if isinstance(layer, nn.Linear)]
    make_head = head.concat_head if len(layers) > 1 else head.linear_head
    parts.append(inspect.getsource(make_head))
    sizes = [layers[0].in_features, *(layer.out_features for layer in layers)]
    return PAGE.format(
        needs=", ".join(requirement(name) for name in ("torch", *library, "safetensors")),
        parts="\n\n" + "\n\n".join(part.strip("\n") + "\n" for part in parts).rstrip("\n"),
        pool=f'Pool("{model.pool.kind}")' if isinstance(model.pool, head.Pool) else "nn.Identity()",
        head=f"{make_head.__name__}({sizes}, {[0.0] * len(layers)})",
        temperature=description["temperature"],
        scale=model.scale.flatten().tolist(),
        shift=model.shift.flatten().tolist(),
        weights=WEIGHTS,
    )


def torchvision_source(node: Mapping[str, Any], model: Classifier) -> tuple[str, list[str]]:
    """The code of a body of torchvision, and the packages that it needs besides torch."""
    name = str(node["_target_"]).rpartition(".")[2]
    text = f'''
def make_body() -> nn.Module:
    """torchvision's {name} up to its last feature map."""
    from torchvision import models

    whole = models.get_model("{name}", weights=None)
    return nn.Sequential(OrderedDict((name, part) for name, part in whole.named_children() if name not in {CUT}))
'''
    return text, ["torchvision"]


def xresnet_source(node: Mapping[str, Any], model: Classifier) -> tuple[str, list[str]]:
    """The code of an xresnet's body, and the packages that it needs besides torch."""
    layers = [model.body.get_submodule(f"layer{number}") for number in (1, 2, 3, 4)]
    blocks = [len(list(layer.children())) for layer in layers]
    *_, norm = model.body.get_submodule("layer1.0.convs").children()
    assert isinstance(norm, nn.BatchNorm2d)
    pieces = (xresnet_body.xresnet_body, xresnet_body.Block, xresnet_body.shortcut, xresnet_body.conv_norm)
    texts = [f"WIDTHS = {xresnet_body.WIDTHS}\n"]
    texts += [inspect.getsource(piece) for piece in (*pieces, xresnet_body.conv_norm_relu)]
    texts.append(f'''
def make_body() -> nn.Module:
    """The body of an xresnet."""
    return xresnet_body({blocks}, {norm.num_features // xresnet_body.WIDTHS[0]})
''')
    return "\n\n".join(text.strip("\n") + "\n" for text in texts), []


def timm_source(node: Mapping[str, Any], model: Classifier) -> tuple[str, list[str]]:
    """The code of a body of timm, and the packages that it needs besides torch."""
    name = node.get("name", "tf_efficientnet_lite0")
    # With a pool of expkit's, timm's own is left out.
    options = ', global_pool=""' if isinstance(model.pool, head.Pool) else ""
    text = f'''
def make_body() -> nn.Module:
    """timm's {name} without its classifier."""
    import timm

    return timm.create_model("{name}", num_classes=0{options})
'''
    return text, ["timm"]


BODIES: dict[str, Callable[[Mapping[str, Any], Classifier], tuple[str, list[str]]]] = {
    **{f"expkit.model.{name}": torchvision_source for name in ("resnet18", "resnet34")},
    **{f"expkit.model.{name}": xresnet_source for name in ("xresnet18", "xresnet34", "xresnet50")},
    **{f"expkit.model.{name}": timm_source for name in ("timm", "efficientnet_lite0")},
}
"""What gives the code of a body, by the function that a config names for the model."""
