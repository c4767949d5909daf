"""Models as config functions: each gives a `Classifier` for a number of classes."""

from expkit.model.resnets import resnet18, resnet34

__all__ = ["resnet18", "resnet34"]
