"""torchvision's ResNets ("Deep Residual Learning for Image Recognition", He et al. 2015) as config functions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from expkit.check import Count, checked
from expkit.model.options import (
    IMAGENET_MEAN,
    IMAGENET_STD,
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


@checked
def resnet18(
    classes: int,
    features: int | None = None,
    body_groups: Sequence[str] = (),
    *,
    weights: str | None = None,
    weights_part: WeightsPart = "all",
    head: HeadName = "concat",
    pool: PoolName | None = None,
    hidden: Count = 512,
    dropout: Dropout | None = None,
    mean: Mean = IMAGENET_MEAN,
    std: Std = IMAGENET_STD,
    groups: Groups | None = None,
) -> "Classifier | HeadOnly":
    """torchvision's resnet18 up to its last feature map, and a new head for `classes` classes.

    Three layer groups: stem to layer2, layer3 and layer4, head.

    Args:
        classes: Number of classes.
        features: None, or the width of feature vectors that this model's body gave before: the head alone is built.
        body_groups: Names of that body's layer groups, which the head alone then lists as empty.
        weights: None (random), a name of torchvision such as "IMAGENET1K_V1" (downloaded once), a file (a state dict,
            .pt or .pth, or .safetensors) of torchvision's resnet18 or of this model, or an earlier run (its folder or
            MLflow run id).
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
    from expkit.model.torchvision_body import torchvision_resnet

    return torchvision_resnet("resnet18", classes, options)


@checked
def resnet34(
    classes: int,
    features: int | None = None,
    body_groups: Sequence[str] = (),
    *,
    weights: str | None = None,
    weights_part: WeightsPart = "all",
    head: HeadName = "concat",
    pool: PoolName | None = None,
    hidden: Count = 512,
    dropout: Dropout | None = None,
    mean: Mean = IMAGENET_MEAN,
    std: Std = IMAGENET_STD,
    groups: Groups | None = None,
) -> "Classifier | HeadOnly":
    """torchvision's resnet34 up to its last feature map, and a new head for `classes` classes.

    Three layer groups: stem to layer2, layer3 and layer4, head.

    Args:
        classes: Number of classes.
        features: None, or the width of feature vectors that this model's body gave before: the head alone is built.
        body_groups: Names of that body's layer groups, which the head alone then lists as empty.
        weights: None (random), a name of torchvision such as "IMAGENET1K_V1" (downloaded once), a file (a state dict,
            .pt or .pth, or .safetensors) of torchvision's resnet34 or of this model, or an earlier run (its folder or
            MLflow run id).
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
    from expkit.model.torchvision_body import torchvision_resnet

    return torchvision_resnet("resnet34", classes, options)
