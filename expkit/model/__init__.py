"""Models as config functions: each gives a `Classifier` for a number of classes."""

from expkit.model.resnets import resnet18, resnet34
from expkit.model.timms import efficientnet_lite0, timm
from expkit.model.xresnets import xresnet18, xresnet34, xresnet50

__all__ = ["efficientnet_lite0", "resnet18", "resnet34", "timm", "xresnet18", "xresnet34", "xresnet50"]
