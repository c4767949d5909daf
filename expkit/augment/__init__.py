"""The `augment` group: how an image of any size becomes the input of the model."""

from expkit.augment.choices import Transforms, none, side_on, top_down

__all__ = ["Transforms", "none", "side_on", "top_down"]
