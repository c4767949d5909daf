"""XResNets (ResNet-D of "Bag of Tricks for Image Classification with CNNs", He et al. 2018) as config functions."""

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
        description="None (random), a file of this model (a state dict, .pt or .pth, or .safetensors), or an earlier "
        "run (its folder or MLflow run id)."
    ),
]


@checked
def xresnet18(
    classes: Classes,
    features: Features = None,
    body_groups: BodyGroups = (),
    *,
    weights: Weights = None,
    **shared: Unpack[SharedOfImagenet],
) -> "Classifier | HeadOnly":
    """An xresnet18 with a head for `classes` classes; layer groups: stem to layer2, layer3 and layer4, head.

    Raises:
        UserError: if the weights cannot be had or do not fit, or an option is impossible.
    """
    from expkit.model.building import built
    from expkit.model.xresnet_body import body_of

    options = Options(weights, **shared)
    return built(partial(body_of, "xresnet18", (2, 2, 2, 2), 1), classes, features, body_groups, options)


@checked
def xresnet34(
    classes: Classes,
    features: Features = None,
    body_groups: BodyGroups = (),
    *,
    weights: Weights = None,
    **shared: Unpack[SharedOfImagenet],
) -> "Classifier | HeadOnly":
    """An xresnet34 with a head for `classes` classes; layer groups: stem to layer2, layer3 and layer4, head.

    Raises:
        UserError: if the weights cannot be had or do not fit, or an option is impossible.
    """
    from expkit.model.building import built
    from expkit.model.xresnet_body import body_of

    options = Options(weights, **shared)
    return built(partial(body_of, "xresnet34", (3, 4, 6, 3), 1), classes, features, body_groups, options)


@checked
def xresnet50(
    classes: Classes,
    features: Features = None,
    body_groups: BodyGroups = (),
    *,
    weights: Weights = None,
    **shared: Unpack[SharedOfImagenet],
) -> "Classifier | HeadOnly":
    """An xresnet50 with a head for `classes` classes; layer groups: stem to layer2, layer3 and layer4, head.

    Raises:
        UserError: if the weights cannot be had or do not fit, or an option is impossible.
    """
    from expkit.model.building import built
    from expkit.model.xresnet_body import body_of

    options = Options(weights, **shared)
    return built(partial(body_of, "xresnet50", (3, 4, 6, 3), 4), classes, features, body_groups, options)
