"""The keys that all models share: what they may be, what they mean, and all of them as one value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Len, MinLen
from pydantic import Field
from typing_extensions import TypedDict

from expkit.check import Count, Portion, Positive

HeadName = Literal["concat", "linear"]
PoolName = Literal["concat", "avg", "max"]
WeightsPart = Literal["all", "body"]
Mean = Annotated[Sequence[float], Len(3, 3)]
Std = Annotated[Sequence[Positive], Len(3, 3)]

Classes = Annotated[int, Field(description="Number of classes.")]
Features = Annotated[
    int | None,
    Field(
        description="None, or the width of feature vectors that this model's body gave before: the head alone is built."
    ),
]
BodyGroups = Annotated[
    Sequence[str],
    Field(description="Names of that body's layer groups, which the head alone then lists as empty."),
]
PixelMean = Annotated[Mean, Field(description="Mean of the pixels taken off, red, green, blue, on a scale of 0 to 1.")]
PixelStd = Annotated[Std, Field(description="Standard deviation that the pixels are divided by, on the same scale.")]


IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of the pixels of ImageNet, red, green and blue, on a scale of 0 to 1."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of the pixels of ImageNet, on the same scale."""


class Shared(TypedDict, total=False):
    """The keys that all models share with one default and one meaning."""

    weights_part: Annotated[
        WeightsPart,
        Field("all", description='"all", or "body" to leave the head of a run or a file of this model out.'),
    ]
    head: Annotated[
        HeadName,
        Field(
            "concat",
            description='"concat" (batch norm, dropout, linear, ReLU, batch norm, dropout, linear) or "linear" (one '
            "layer).",
        ),
    ]
    pool: Annotated[
        PoolName | None,
        Field(
            None,
            description='"concat" (maximum and average), "avg" or "max"; None is "concat" for that head, "avg" for '
            '"linear".',
        ),
    ]
    hidden: Annotated[Count, Field(512, description='Width of the hidden layer of the "concat" head.')]
    dropout: Annotated[
        Annotated[Sequence[Portion], MinLen(1)] | None,
        Field(
            None,
            description='Share of features dropped before each linear layer; None is (0.25, 0.5), for "linear" (0,).',
        ),
    ]
    groups: Annotated[
        Annotated[Mapping[str, Annotated[Sequence[str], MinLen(1)]], MinLen(1)] | None,
        Field(
            None,
            description="Layer groups of the body, earliest first, each with the names of its layers; None is as said "
            "above.",
        ),
    ]


class SharedOfImagenet(Shared, total=False):
    """The same with the pixels of ImageNet by default."""

    mean: Annotated[PixelMean, Field(IMAGENET_MEAN)]
    std: Annotated[PixelStd, Field(IMAGENET_STD)]


def drawn_seed() -> int:
    """A seed drawn from torch's global stream."""
    import torch

    return int(torch.randint(2**63 - 1, (), device="cpu").item())


def pool_of(pool: PoolName | None, head: HeadName) -> PoolName:
    """The pooling in front of a head, where `pool` may leave it open."""
    return pool or ("concat" if head == "concat" else "avg")


@dataclass(frozen=True)
class Options:
    """The config keys of a model as one value; an empty `mean` or `std` means that of the model's own weights."""

    weights: str | None
    mean: Sequence[float]
    std: Sequence[float]
    weights_part: WeightsPart
    head: HeadName
    pool: PoolName | None
    hidden: int
    dropout: Sequence[float] | None
    groups: Mapping[str, Sequence[str]] | None
    head_seed: int = field(default_factory=drawn_seed)
    """What the new head starts from: drawn before the body, so that the head is the same where no body is built."""
