"""ResNets of torchvision cut before their pooling, with its published weights."""

import re
from collections import OrderedDict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from expkit.check import nearest
from expkit.data.fetch import SECONDS, patience
from expkit.errors import UserError
from expkit.model.building import Body
from expkit.model.groups import resnet_groups
from expkit.model.weights import read_weights

HASH = re.compile(r"-([a-f0-9]+)\.")
"""What a published file has of its hash in its name."""
FIRST = "IMAGENET1K_V1"
"""What torchvision calls the weights that every one of its models has of ImageNet."""
CUT = ("avgpool", "fc")
"""Children of torchvision's ResNet that the pool and the head replace."""


def resnet_body(name: str) -> Body:
    """The ResNet `name` without its classifier, and how to get its weights."""
    from torchvision import models  # here, since the head alone is built without it

    whole = models.get_model(name, weights=None)
    module = nn.Sequential(OrderedDict((child, layer) for child, layer in whole.named_children() if child not in CUT))
    return Body(
        name=name,
        module=module,
        shape=(whole.fc.in_features, 7, 7),
        groups=partial(resnet_groups, module),
        classifier=("fc",),
        published=partial(published, name),
    )


def published(architecture: str, weights: str) -> dict[str, Tensor]:
    """The weights that torchvision's enum of an architecture calls so, or of "imagenet" its first.

    Raises UserError where there are none.
    """
    from torchvision import models

    known = models.get_model_weights(architecture).__members__
    weights = FIRST if weights == "imagenet" else weights
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
                f"and put it there: {file}, or give its path: model.weights=FILE, or choose model=efficientnet_lite0, "
                "which needs no download"
            ) from error
    return read_weights(file)
