"""ResNets of torchvision cut before their pooling, with its published weights."""

import re
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models

from expkit.check import nearest
from expkit.data.fetch import SECONDS, patience
from expkit.errors import UserError
from expkit.model.classifier import Classifier, with_new_head
from expkit.model.groups import groups_of, resnet_groups
from expkit.model.options import Options
from expkit.model.weights import fit_weights, read_weights
from expkit.model.weights_file import weights_file

HASH = re.compile(r"-([a-f0-9]+)\.")
"""What a published file has of its hash in its name."""
CUT = ("avgpool", "fc")
"""Children of torchvision's ResNet that the pool and the head replace."""


def torchvision_resnet(name: str, classes: int, options: Options) -> Classifier:
    """The ResNet `name` with a new head; see `expkit.model.resnet18` for the options."""
    whole = models.get_model(name, weights=None)
    body = nn.Sequential(OrderedDict((child, layer) for child, layer in whole.named_children() if child not in CUT))
    body_groups = groups_of(body, options.groups, lambda: resnet_groups(body))
    model = with_new_head(body, whole.fc.in_features, classes, body_groups=body_groups, options=options)
    if options.weights is not None:
        found = named_weights(name, options.weights)
        fit_weights(model, found, source=options.weights, classifier=("fc",), part=options.weights_part)
    return model


def named_weights(architecture: str, weights: str) -> dict[str, Tensor]:
    """The weights that `weights` names: those of a file or a run, or torchvision's by the name of its enum."""
    file = weights_file(weights)
    if file is not None:
        return read_weights(file)
    known = models.get_model_weights(architecture).__members__
    if weights not in known:
        raise UserError(
            f"model.weights must be a file, a run or a name of torchvision's {architecture}, got {weights!r}; "
            f"{nearest(weights, known)}"
        )
    return download(f"{weights} of {architecture}", known[weights].url)


def download(what: str, url: str) -> dict[str, Tensor]:
    """The state dict at `url`, kept in torch's hub folder and checked against the hash in its name."""
    file = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not file.is_file():
        prefix = HASH.search(file.name)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with patience(SECONDS):
                torch.hub.download_url_to_file(url, str(file), prefix and prefix[1])
        except (OSError, RuntimeError) as error:  # no connection, no room, another hash
            raise UserError(
                f"model.weights: {what} could not be downloaded ({error}); fetch {url} on a machine with a connection "
                f"and put it there: {file}, or give its path: model.weights=FILE"
            ) from error
    return read_weights(file)
