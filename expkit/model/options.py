"""What the keys that all models share may be, and all of them as one value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Len, MinLen

from expkit.check import Portion, Positive

HeadName = Literal["concat", "linear"]
PoolName = Literal["concat", "avg", "max"]
WeightsPart = Literal["all", "body"]
Dropout = Annotated[Sequence[Portion], MinLen(1)]
Mean = Annotated[Sequence[float], Len(3, 3)]
Std = Annotated[Sequence[Positive], Len(3, 3)]
Groups = Annotated[Mapping[str, Annotated[Sequence[str], MinLen(1)]], MinLen(1)]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of the pixels of ImageNet, red, green and blue, on a scale of 0 to 1."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of the pixels of ImageNet, on the same scale."""


def drawn_seed() -> int:
    """A seed drawn from torch's global stream."""
    import torch

    return int(torch.randint(2**63 - 1, (), device="cpu").item())


@dataclass(frozen=True)
class Options:
    """The config keys that all models share, as one value; see `expkit.model.resnet18` for their meaning.

    An empty `mean` or `std` means that of the model's own weights.
    """

    weights: str | None
    weights_part: WeightsPart
    head: HeadName
    pool: PoolName | None
    hidden: int
    dropout: Sequence[float] | None
    mean: Sequence[float]
    std: Sequence[float]
    groups: Mapping[str, Sequence[str]] | None
    head_seed: int = field(default_factory=drawn_seed)
    """What the new head starts from: drawn before the body, so that the head is the same where no body is built."""
