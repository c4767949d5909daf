"""torchvision's ResNets ("Deep Residual Learning for Image Recognition", He et al. 2015) as config functions."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Unpack

from pydantic import Field

from expkit.check import checked
from expkit.model.options import BodyGroups, Classes, Features, Options, SharedOfImagenet

if TYPE_CHECKING:
    from expkit.model.classifier import Classifier
    from expkit.model.head_only import HeadOnly

Weights = Annotated[
    str | None,
    Field(
        description='None (random), "imagenet" or another name of torchvision such as "IMAGENET1K_V1", which is the '
        "same (downloaded once), a file (a state dict, .pt or .pth, or .safetensors) of torchvision's model or of this "
        "one, or an earlier run (its folder or MLflow run id)."
    ),
]


@checked
def resnet18(
    classes: Classes,
    features: Features = None,
    body_groups: BodyGroups = (),
    *,
    weights: Weights = None,
    **shared: Unpack[SharedOfImagenet],
) -> "Classifier | HeadOnly":
    """torchvision's resnet18 up to its last feature map, and a new head for `classes` classes.

    Three layer groups: stem to layer2, layer3 and layer4, head.

    Raises:
        UserError: if the weights cannot be had or do not fit, or an option is impossible.
    """
    from expkit.model.building import built
    from expkit.model.torchvision_body import resnet_body

    options = Options(weights, **shared)
    return built(partial(resnet_body, "resnet18"), classes, features, body_groups, options)


@checked
def resnet34(
    classes: Classes,
    features: Features = None,
    body_groups: BodyGroups = (),
    *,
    weights: Weights = None,
    **shared: Unpack[SharedOfImagenet],
) -> "Classifier | HeadOnly":
    """torchvision's resnet34 up to its last feature map, and a new head for `classes` classes.

    Three layer groups: stem to layer2, layer3 and layer4, head.

    Raises:
        UserError: if the weights cannot be had or do not fit, or an option is impossible.
    """
    from expkit.model.building import built
    from expkit.model.torchvision_body import resnet_body

    options = Options(weights, **shared)
    return built(partial(resnet_body, "resnet34"), classes, features, body_groups, options)
