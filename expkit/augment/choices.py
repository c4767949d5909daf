"""Image transforms: how an image of any size becomes the model's input, in training and in validation.

The amounts are those of fastai's `aug_transforms` [1]: most images are turned, zoomed and relit a little.

[1] https://docs.fast.ai/vision.augment.html#aug_transforms
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

from annotated_types import Ge, Gt, Le
from PIL import Image
from pydantic import Field
from typing_extensions import TypedDict

from expkit.check import Portion, checked

if TYPE_CHECKING:
    from torch import Tensor

    from expkit.augment.transforms import Amounts

Resize = Literal["crop", "pad", "squish"]
Chance = Annotated[float, Ge(0), Le(1)]
Degrees = Annotated[float, Ge(0), Le(180)]
Zoom = Annotated[float, Ge(1), Le(10)]
Share = Annotated[float, Gt(0), Le(1)]
Count = Annotated[int, Ge(1), Le(14)]
Shift = Annotated[float, Ge(0), Le(0.5)]


@dataclass(frozen=True)
class Transforms:
    """What training and validation do to an RGB image; both give a contiguous uint8 tensor, size x size x 3."""

    train: Callable[[Image.Image, int], "Tensor"]
    """(image, seed) -> tensor; every random draw comes from the seed."""
    valid: Callable[[Image.Image], "Tensor"]
    """image -> tensor, always the same."""
    random: bool
    """Whether `train` differs from `valid`."""
    size: int
    """Pixels on a side."""
    train_side: int | None = None
    """Pixels that no side of an image may fall below where it is decoded smaller for `train`; None: all it has."""
    valid_side: int | None = None
    """Likewise for `valid`, wherever that is applied: in validation, for frozen features and where it is served."""

    def fixed(self) -> "Transforms":
        """The same with training images as in validation."""
        return replace(self, train=partial(regardless, self.valid), random=False, train_side=self.valid_side)

    def side(self, train: bool) -> int | None:
        """The pixels that no side may fall below for training or validation: what `Images.read` is to be asked for."""
        return self.train_side if train else self.valid_side


def regardless(transform: "Callable[[Image.Image], Tensor]", image: Image.Image, seed: int) -> "Tensor":
    """Transform an image without a draw from `seed`."""
    return transform(image)


@checked
def none(size: int, *, resize: Resize = "crop") -> Transforms:
    """Bring images to `size` x `size` pixels and change nothing else.

    resize: `crop` scales the shorter side to `size` and keeps the centre; `pad` scales the longer side and fills
    the rest with mirrored pixels; `squish` scales both sides and so changes the aspect ratio.
    """
    return joined(size, resize)


class Amount(TypedDict, total=False):
    """The keys that all augmentations share."""

    resize: Annotated[
        Resize,
        Field(
            "crop",
            description="as in `none`; in training a crop or a padded image lies at a random position along its longer "
            "side.",
        ),
    ]
    flip: Annotated[Chance, Field(0.5, description="chance of a left-right flip.")]
    rotate: Annotated[Degrees, Field(10.0, description="most degrees of a rotation to either side, beside others.")]
    zoom: Annotated[Zoom, Field(1.1, description="most by which the image is enlarged.")]
    shift: Annotated[
        Shift,
        Field(0.05, description="most by which the image moves along each axis, as a share of the side."),
    ]
    p_affine: Annotated[Chance, Field(0.75, description="chance of each of rotation, zoom and shift.")]
    lighting: Annotated[Portion, Field(0.2, description="most by which brightness and contrast change, as a share.")]
    p_lighting: Annotated[Chance, Field(0.75, description="chance of each of brightness and contrast.")]
    crop_scale: Annotated[
        Share | None,
        Field(
            None,
            description="train on parts of any place with this share of the area at least, 3:4 to 4:3 (random resized "
            "crop); None: on all that `resize` keeps.",
        ),
    ]
    policy: Annotated[
        Literal["trivial", "rand"] | None,
        Field(None, description="`trivial` (TrivialAugment) or `rand` (RandAugment) on top; None: neither."),
    ]
    policy_ops: Annotated[Count, Field(2, description="operations of RandAugment on each image.")]
    policy_strength: Annotated[Share, Field(0.3, description="strength of RandAugment's operations.")]
    erase: Annotated[Chance, Field(0.0, description="chance of a box that is filled with the mean colour.")]


@checked
def side_on(size: int, **keys: Unpack[Amount]) -> Transforms:
    """Augment photos taken from the side, where up is up: pets, people, products."""
    return augmenting(size, flip_vertical=0.0, quarter_turns=False, **keys)


@checked
def top_down(
    size: int, *, flip_vertical: Chance = 0.5, quarter_turns: bool = True, **keys: Unpack[Amount]
) -> Transforms:
    """Augment pictures that have no up: satellite and aerial images, microscopy, tiles.

    Args:
        flip_vertical: chance of an upside-down flip.
        quarter_turns: turn by 0, 90, 180 or 270 degrees, each equally often.
    """
    return augmenting(size, flip_vertical=flip_vertical, quarter_turns=quarter_turns, **keys)


def augmenting(size: int, *, resize: Resize, **amounts: Any) -> Transforms:
    """The transforms of these amounts, all of `expkit.augment.transforms.Amounts`."""
    from expkit.augment.transforms import Amounts

    return joined(size, resize, Amounts(**amounts))


def joined(size: int, resize: Resize, amounts: "Amounts | None" = None) -> Transforms:
    """The fixed transform and, where `amounts` are given, the random one for training."""
    from expkit.augment.transforms import augmented, fitted

    valid = partial(fitted, size=size, resize=resize)
    train = valid if amounts is None else partial(augmented, size=size, resize=resize, amounts=amounts)
    zoom = 1.0 if amounts is None else amounts.zoom
    if amounts is not None and amounts.crop_scale is not None:
        zoom *= 1 / math.sqrt(amounts.crop_scale * 3 / 4)  # of the narrowest part
    return Transforms(
        train, valid, random=amounts is not None, size=size, train_side=math.ceil(size * zoom), valid_side=size
    )
