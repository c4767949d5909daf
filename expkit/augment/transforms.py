"""The work behind `expkit.augment`: choose a frame of the image, bring it to the model's size, turn, flip, relight it.

Crop, pad, squish, zoom and shift only choose the frame, so that they and the resize cost one antialiased resampling by
torchvision's v2 functions; a rotation adds one bilinear one. Parameters are drawn here from the item's own seed,
because the v2 transform classes draw from torch's global generator.
"""

import math
import random
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as v2

from expkit.augment.policies import Policy, apply_policy

Resize = Literal["crop", "pad", "squish"]


@dataclass(frozen=True)
class Frame:
    """The part of an image that fills the model's input: centre and extent in pixels; it may reach beyond the image."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Amounts:
    """How much `augmented` changes; the arguments of `expkit.augment.top_down` explain each."""

    flip: float
    flip_vertical: float
    quarter_turns: bool
    rotate: float
    zoom: float
    shift: float
    p_affine: float
    lighting: float
    p_lighting: float
    crop_scale: float | None
    policy: Policy | None
    policy_ops: int
    policy_strength: float
    erase: float


def fitted(image: Image.Image, seed: int = 0, *, size: int, resize: Resize) -> Tensor:
    """The middle of an RGB image as uint8, size x size x 3; `seed` is ignored."""
    frame = choose_frame(image.size, resize, 0.5)
    return view(v2.pil_to_tensor(image), frame, 0.0, size).permute(1, 2, 0).contiguous()


def augmented(image: Image.Image, seed: int, *, size: int, resize: Resize, amounts: Amounts) -> Tensor:
    """A random view of an RGB image, drawn from `seed` alone, as uint8, size x size x 3."""
    draw = random.Random(seed)
    frame = choose_frame(image.size, resize, draw.random())
    if amounts.crop_scale is not None:
        frame = random_frame(image.size, draw, amounts.crop_scale)
    frame = zoomed_and_shifted(frame, draw, amounts)
    angle = amounts.rotate * spread(draw, amounts.p_affine)
    pixels = flipped(view(v2.pil_to_tensor(image), frame, angle, size), draw, amounts)
    pixels = pixels.permute(1, 2, 0).contiguous()
    if amounts.lighting:
        pixels = torch.from_numpy(relight(draw, amounts).take(pixels.numpy()))
    if amounts.policy is not None:
        drawn = apply_policy(
            pixels.permute(2, 0, 1).contiguous(), draw, amounts.policy, amounts.policy_ops, amounts.policy_strength
        )
        pixels = drawn.permute(1, 2, 0).contiguous()
    if amounts.erase and draw.random() < amounts.erase:
        erase(pixels, draw)
    return pixels


def choose_frame(image_size: tuple[int, int], resize: Resize, position: float) -> Frame:
    """The frame for `resize`; `position` in [0, 1] is where a square one lies on the longer side (0.5: the middle)."""
    width, height = image_size
    if resize == "squish":
        return Frame(width / 2, height / 2, width, height)
    side = min(width, height) if resize == "crop" else max(width, height)
    left, top = round(position * (width - side)), round(position * (height - side))
    return Frame(left + side / 2, top + side / 2, side, side)


def random_frame(image_size: tuple[int, int], draw: random.Random, least: float) -> Frame:
    """A part of any place with `least` to all of the area and a ratio of 3:4 to 4:3 (torchvision's RandomResizedCrop).

    The tenth that does not fit is cut to what does.
    """
    width, height = image_size
    for _ in range(10):
        area, ratio = draw.uniform(least, 1) * width * height, math.exp(draw.uniform(-1, 1) * math.log(4 / 3))
        across, down = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if across <= width and down <= height:
            break
    across, down = min(across, width), min(down, height)
    x, y = across / 2 + draw.random() * (width - across), down / 2 + draw.random() * (height - down)
    return Frame(x, y, across, down)


def erase(pixels: Tensor, draw: random.Random) -> None:
    """Fill a box of 2 to 33% of an N x N x 3 image with its mean colour, in place (torchvision's RandomErasing [1]).

    [1] Zhong et al., https://arxiv.org/abs/1708.04896
    """
    size = pixels.shape[0]
    area, ratio = draw.uniform(0.02, 0.33), math.exp(draw.uniform(-1, 1) * math.log(3.3))
    width, height = (min(size, max(1, round(size * math.sqrt(area * r)))) for r in (ratio, 1 / ratio))
    left, top = draw.randint(0, size - width), draw.randint(0, size - height)
    mean = pixels.sum((0, 1), dtype=torch.int64) // size**2
    pixels[top : top + height, left : left + width] = mean.to(torch.uint8)


def spread(draw: random.Random, chance: float) -> float:
    """A number in [-1, 1], which is 0 but for `chance`; takes two draws from the generator in any case."""
    happens, amount = draw.random() < chance, draw.uniform(-1, 1)
    return amount if happens else 0.0


def zoomed_and_shifted(frame: Frame, draw: random.Random, amounts: Amounts) -> Frame:
    """A smaller frame nearby."""
    zoom = 1 + (amounts.zoom - 1) * abs(spread(draw, amounts.p_affine))
    x = frame.x + frame.width * amounts.shift * spread(draw, amounts.p_affine)
    y = frame.y + frame.height * amounts.shift * spread(draw, amounts.p_affine)
    return Frame(x, y, frame.width / zoom, frame.height / zoom)


def view(pixels: Tensor, frame: Frame, angle: float, size: int) -> Tensor:
    """What `frame` of `pixels` (uint8, 3 x H x W) shows, turned by `angle` degrees, as uint8, 3 x size x size."""
    exact = frame.x - frame.width / 2, frame.y - frame.height / 2, frame.width, frame.height
    left, top, width, height = box = tuple(map(round, exact))
    inside = left >= 0 and top >= 0 and left + width <= pixels.shape[2] and top + height <= pixels.shape[1]
    # Cut at whole pixels where that moves the view by less than a pixel of the result: it is three times as fast.
    whole = box == exact or min(width, height) >= size
    if angle == 0 and inside and whole:
        seen: Tensor = v2.resized_crop(pixels, top, left, height, width, [size, size], antialias=True)
        return seen
    return sample(pixels, frame, angle, size)


def sample(pixels: Tensor, frame: Frame, angle: float, size: int) -> Tensor:
    """Like `view` for any frame and angle: what lies beyond the image mirrors it.

    torchvision's own `rotate` and `affine` fill the corners with one colour, and take twice as long.
    """
    left, right = reach(frame.x, frame.width, pixels.shape[2])
    top, bottom = reach(frame.y, frame.height, pixels.shape[1])
    scaled_width = max(1, round((right - left) * size / frame.width))
    scaled_height = max(1, round((bottom - top) * size / frame.height))
    scaled = v2.resize(pixels[:, top:bottom, left:right], [scaled_height, scaled_width], antialias=True)
    steps = (np.arange(size) + 0.5) / size - 0.5
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x = along(frame.x, frame.width, left, right, cos * steps, -sin * steps)
    y = along(frame.y, frame.height, top, bottom, sin * steps, cos * steps)
    grid = torch.from_numpy(np.stack([x, y], axis=-1))
    seen = torch.nn.functional.grid_sample(
        scaled[None].float(), grid[None], mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return seen[0].add_(0.5).to(torch.uint8)


def reach(centre: float, extent: float, length: int) -> tuple[int, int]:
    """The pixels of one axis that a turned frame can see: all, or those near it where the image is very long."""
    if length <= 3 * extent:
        return 0, length
    centre = min(max(centre, 0.0), float(length))
    return max(0, math.floor(centre - extent)), min(length, math.ceil(centre + extent))


def along(
    centre: float, extent: float, start: int, end: int, columns: NDArray[np.float64], rows: NDArray[np.float64]
) -> NDArray[np.float32]:
    """One coordinate of each pixel of the result, -1 at `start` and 1 at `end` (the units of `grid_sample`)."""
    scale = 2 / (end - start)
    offset = (centre - start) * scale - 1
    columns, rows = columns * extent * scale + offset, rows * extent * scale
    # numpy adds on one thread, so the sums are the same to the bit on any number of workers and threads.
    return np.add.outer(rows.astype(np.float32), columns.astype(np.float32))


def flipped(pixels: Tensor, draw: random.Random, amounts: Amounts) -> Tensor:
    """Flip and turn a 3 x N x N image as `amounts` say."""
    if draw.random() < amounts.flip:
        pixels = v2.horizontal_flip(pixels)
    if draw.random() < amounts.flip_vertical:
        pixels = v2.vertical_flip(pixels)
    turns = draw.randrange(4)
    if amounts.quarter_turns and turns:
        pixels = torch.rot90(pixels, turns, (1, 2))
    return pixels


def relight(draw: random.Random, amounts: Amounts) -> NDArray[np.uint8]:
    """A new value for each of the 256 levels: fastai's brightness and contrast, which move and scale the logits.

    One table does both and, unlike `v2.adjust_contrast`, needs no mean, whose last bit depends on the thread count.
    """
    brightness = 0.5 * (1 + amounts.lighting * spread(draw, amounts.p_lighting))
    contrast = math.exp(-math.log(1 - amounts.lighting) * spread(draw, amounts.p_lighting))
    share = (np.arange(256) / 255).clip(1e-7, 1 - 1e-7)
    logits = np.log(share / (1 - share)) + math.log(brightness / (1 - brightness))
    levels: NDArray[np.uint8] = np.rint(255 / (1 + np.exp(-contrast * logits))).astype(np.uint8)
    return levels
