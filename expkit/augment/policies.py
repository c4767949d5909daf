"""Policies that draw from many operations: TrivialAugment [1], one of any strength, and RandAugment [2], a few of one.

Operations and their ranges are those of torchvision's `TrivialAugmentWide` and `RandAugment`, whose classes draw from
torch's global generator; here all is drawn from the item's own seed. What a moved image uncovers mirrors it. Sums are
of whole numbers, or numpy's, so that they are the same to the bit on any number of threads.

[1] Müller and Hutter, https://arxiv.org/abs/2103.10158  [2] Cubuk et al., https://arxiv.org/abs/1909.13719
"""

import math
import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as v2

Policy = Literal["trivial", "rand"]
Operation = Callable[[Tensor, float], Tensor]
"""(pixels as uint8, 3 x N x N; strength in [-1, 1] of its range) -> pixels."""


def apply_policy(pixels: Tensor, draw: random.Random, policy: Policy, count: int, strength: float) -> Tensor:
    """Apply what a policy draws to an image of uint8, 3 x N x N; `count` and `strength` are those of RandAugment."""
    space = SPACES[policy]
    for _ in range(1 if policy == "trivial" else count):
        name = draw.choice(list(space))
        amount = draw.random() if policy == "trivial" else strength
        pixels = space[name](pixels, amount if draw.random() < 0.5 else -amount)
    return pixels


def warp(pixels: Tensor, x: tuple[float, float, float], y: tuple[float, float, float]) -> Tensor:
    """Show at each place (u, v) what lies at (x · (u, v, 1), y · (u, v, 1)); the middle is 0, the side 1."""
    size = pixels.shape[1]
    steps = (np.arange(size) + 0.5) / size - 0.5
    planes = [np.add.outer(2 * (b * steps + c), 2 * a * steps).astype(np.float32) for a, b, c in (x, y)]
    grid = torch.from_numpy(np.stack(planes, axis=-1))
    seen = torch.nn.functional.grid_sample(
        pixels[None].float(), grid[None], mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return seen[0].add_(0.5).to(torch.uint8)


def shear(pixels: Tensor, amount: float, *, most: float, along_x: bool) -> Tensor:
    """Slant by at most `most` pixels a pixel."""
    slant = amount * most
    return warp(pixels, (1, slant if along_x else 0, 0), (0 if along_x else slant, 1, 0))


def translate(pixels: Tensor, amount: float, *, most: float, along_x: bool) -> Tensor:
    """Move by at most `most` of the side."""
    shift = amount * most
    return warp(pixels, (1, 0, shift if along_x else 0), (0, 1, 0 if along_x else shift))


def rotate(pixels: Tensor, amount: float, *, most: float) -> Tensor:
    """Turn by at most `most` degrees."""
    angle = math.radians(amount * most)
    return warp(pixels, (math.cos(angle), -math.sin(angle), 0), (math.sin(angle), math.cos(angle), 0))


def by_table(pixels: Tensor, levels: NDArray[np.floating[Any]]) -> Tensor:
    """Give each of the 256 levels another value."""
    table = np.rint(levels.clip(0, 255)).astype(np.uint8)
    return torch.from_numpy(table.take(pixels.numpy()))


def brightness(pixels: Tensor, amount: float, *, most: float) -> Tensor:
    """Multiply by a factor."""
    return by_table(pixels, np.arange(256) * (1 + amount * most))


def contrast(pixels: Tensor, amount: float, *, most: float) -> Tensor:
    """Move all away from, or towards, the mean of the grey image."""
    mean = float(v2.rgb_to_grayscale(pixels).sum(dtype=torch.int64)) / pixels[0].numel()
    return by_table(pixels, mean + (np.arange(256) - mean) * (1 + amount * most))


def colour(pixels: Tensor, amount: float, *, most: float) -> Tensor:
    """Move the colours away from, or towards, grey."""
    changed: Tensor = v2.adjust_saturation(pixels, 1 + amount * most)
    return changed


def sharpness(pixels: Tensor, amount: float, *, most: float) -> Tensor:
    """Move away from, or towards, a blurred copy; the outermost pixels stay."""
    whole = pixels.numpy().astype(np.int32)
    side = whole.shape[1]
    if side < 3:
        return pixels
    inner = whole[:, 1:-1, 1:-1]
    near = sum(whole[:, i : side - 2 + i, j : side - 2 + j] for i in range(3) for j in range(3))
    blurred = np.rint((near + 4 * inner) / 13)
    result = pixels.numpy().copy()
    result[:, 1:-1, 1:-1] = np.rint((blurred + (inner - blurred) * (1 + amount * most)).clip(0, 255))
    return torch.from_numpy(result)


def posterize(pixels: Tensor, amount: float, *, fewest: int) -> Tensor:
    """Keep fewer bits of each level."""
    changed: Tensor = v2.posterize(pixels, 8 - round(abs(amount) * (8 - fewest)))
    return changed


def solarize(pixels: Tensor, amount: float) -> Tensor:
    """Invert the levels above a threshold."""
    changed: Tensor = v2.solarize(pixels, 255 * (1 - abs(amount)))
    return changed


def equalize(pixels: Tensor, amount: float) -> Tensor:
    """Spread the levels evenly, whatever the strength."""
    changed: Tensor = v2.equalize(pixels)
    return changed


def stretch(pixels: Tensor, amount: float) -> Tensor:
    """Stretch each channel from black to white, whatever the strength."""
    changed: Tensor = v2.autocontrast(pixels)
    return changed


def nothing(pixels: Tensor, amount: float) -> Tensor:
    """Leave the image as it is."""
    return pixels


def space(*, slant: float, shift: float, turn: float, light: float, bits: int) -> Mapping[str, Operation]:
    """The operations with the ends of their ranges: of shears, moves (share of the side), degrees, factors and bits."""
    return {
        "identity": nothing,
        "shear_x": partial(shear, most=slant, along_x=True),
        "shear_y": partial(shear, most=slant, along_x=False),
        "translate_x": partial(translate, most=shift, along_x=True),
        "translate_y": partial(translate, most=shift, along_x=False),
        "rotate": partial(rotate, most=turn),
        "brightness": partial(brightness, most=light),
        "colour": partial(colour, most=light),
        "contrast": partial(contrast, most=light),
        "sharpness": partial(sharpness, most=light),
        "posterize": partial(posterize, fewest=bits),
        "solarize": solarize,
        "autocontrast": stretch,
        "equalize": equalize,
    }


SPACES: Mapping[Policy, Mapping[str, Operation]] = {
    "trivial": space(slant=0.99, shift=32 / 224, turn=135, light=0.99, bits=2),
    "rand": space(slant=0.3, shift=150 / 331, turn=30, light=0.9, bits=4),
}
