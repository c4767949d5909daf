"""Temperature scaling: one number that makes confidences as high as the accuracy (Guo et al., 2017)."""

import math

import torch
from torch import Tensor

LIMITS = 0.02, 50.0
"""Temperatures between which one is sought."""
HALVINGS = 60


@torch.inference_mode()
def temperature_of(logits: Tensor, labels: Tensor) -> float | None:
    """The temperature that divides logits N x C so that their cross entropy is least.

    None where there is none: where every image is told rightly, ever smaller ones are ever better, and where the model
    is no better than chance, ever larger ones.
    """
    logits, own = logits.double(), labels[:, None]

    def slope(temperature: float) -> float:
        """By the inverse of the temperature, in which the cross entropy is convex."""
        expected = ((logits / temperature).softmax(dim=1) * logits).sum(dim=1)
        return float((expected - logits.gather(1, own)[:, 0]).mean())

    low, high = LIMITS
    if not slope(high) < 0 < slope(low):
        return None
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return math.sqrt(low * high)
