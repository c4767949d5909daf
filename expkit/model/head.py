"""The new part of a classifier: pooling (feature map -> vector) and the head proper (vector -> logits)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from expkit.errors import UserError
from expkit.model.options import Options, PoolName, pool_of


class Pool(nn.Module):
    """Pool a feature map N x D x H x W to vectors: N x D by "avg" or "max", N x 2D by "concat".

    "concat" puts the maximum first, then the average, as fastai's AdaptiveConcatPool2d does.
    """

    def __init__(self, kind: PoolName) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, feature_map: Tensor) -> Tensor:
        """Vectors N x D or N x 2D of a feature map N x D x H x W."""
        pooled = []
        if self.kind != "avg":
            pooled.append(F.adaptive_max_pool2d(feature_map, 1).flatten(1))
        if self.kind != "max":
            pooled.append(F.adaptive_avg_pool2d(feature_map, 1).flatten(1))
        return torch.cat(pooled, 1) if len(pooled) > 1 else pooled[0]

    def extra_repr(self) -> str:
        """What stands in the brackets when the module is printed."""
        return self.kind


def pool_and_head(name: str, shape: Sequence[int], classes: int, options: Options) -> tuple[nn.Module, nn.Sequential]:
    """The pooling and the head for the body `name`, which gives feature maps D x H x W, or vectors of D by itself.

    Raises UserError where vectors are to be pooled.
    """
    if len(shape) == 1:
        if options.pool is not None:
            raise UserError(f"model.pool must be null for {name}, which pools by itself, got {options.pool}")
        return nn.Identity(), vector_head(shape[0], classes, options)
    kind = pool_of(options.pool, options.head)
    return Pool(kind), vector_head(2 * shape[0] if kind == "concat" else shape[0], classes, options)


def vector_head(features: int, classes: int, options: Options) -> nn.Sequential:
    """The head on vectors N x `features`: the layers of "concat" (fastai's create_head) or one linear layer.

    Linear weights start from He's normal distribution (kaiming_normal), drawn by the head's own seed, biases from 0,
    as in fastai.
    Raises UserError if the number of dropout shares is not that of the linear layers.
    """
    sizes = [features, options.hidden, classes] if options.head == "concat" else [features, classes]
    shares = dropout_shares(options, len(sizes) - 1)
    head = concat_head(sizes, shares) if options.head == "concat" else linear_head(sizes, shares)
    stream = torch.Generator().manual_seed(options.head_seed)
    for module in head:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, generator=stream)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return head


def concat_head(sizes: Sequence[int], dropout: Sequence[float]) -> nn.Sequential:
    """Batch norm, dropout, linear, ReLU, batch norm, dropout, linear; no bias before a batch norm."""
    features, hidden, classes = sizes
    return nn.Sequential(
        nn.BatchNorm1d(features),
        nn.Dropout(dropout[0]),
        nn.Linear(features, hidden, bias=False),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(hidden),
        nn.Dropout(dropout[1]),
        nn.Linear(hidden, classes),
    )


def linear_head(sizes: Sequence[int], dropout: Sequence[float]) -> nn.Sequential:
    """Dropout and one linear layer."""
    features, classes = sizes
    return nn.Sequential(nn.Dropout(dropout[0]), nn.Linear(features, classes))


def dropout_shares(options: Options, layers: int) -> Sequence[float]:
    """One dropout share for each linear layer of the head."""
    shares = options.dropout
    if shares is None:
        return (0.25, 0.5) if options.head == "concat" else (0.0,)
    if len(shares) != layers:
        raise UserError(
            f"model.dropout must have one share for each linear layer, which is {layers} with "
            f"model.head={options.head}, got {list(shares)}"
        )
    return shares
