"""`Classifier`: pixels in, logits out; a body that may be pretrained and a head that is new."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from expkit.errors import first_ten


@dataclass(frozen=True)
class LayerGroup:
    """Layers that train alike: with one learning rate, frozen or free together."""

    name: str
    modules: tuple[nn.Module, ...]

    def parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of all modules of the group."""
        for module in self.modules:
            yield from module.parameters()


class Classifier(nn.Module):
    """Images to logits: normalize, `body` (images -> feature map), `pool` (-> vectors), `head` (-> logits).

    `layer_groups` lists the layers from the earliest to the head; each parameter lies in exactly one group.
    `mean` and `std` (three numbers each, on a scale of 0 to 1) move with the module and stay out of its state_dict.
    `made_for` is the side in pixels of the images that the body was made for, where that is known.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        body: nn.Module,
        pool: nn.Module,
        head: nn.Module,
        *,
        body_groups: Sequence[LayerGroup],
        mean: Sequence[float],
        std: Sequence[float],
        made_for: int | None = None,
    ) -> None:
        super().__init__()
        self.made_for = made_for
        self.body = body
        self.pool = pool
        self.head = head
        self.layer_groups = [*body_groups, LayerGroup("head", (head,))]
        check_groups(self)
        mean64, std64 = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (mean, std))
        self.register_buffer("mean", mean64.float(), persistent=False)
        self.register_buffer("std", std64.float(), persistent=False)
        self.register_buffer("scale", (1 / (255 * std64)).float(), persistent=False)
        self.register_buffer("shift", (-mean64 / std64).float(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float32, N x C, of images N x 3 x H x W with pixels from 0 to 255 (uint8 or float).

        What `features` gave for images, float N x D, is taken as well and goes straight to the head.
        """
        logits: Tensor = self.head(images if images.ndim == 2 else self.features(images))
        return logits.float()

    def features(self, images: Tensor) -> Tensor:
        """Vectors N x D that the head reads: what is worth keeping when the body is frozen."""
        vectors: Tensor = self.pool(self.body(self.normalize(images)))
        return vectors

    def normalize(self, images: Tensor) -> Tensor:
        """(images / 255 - mean) / std in one pass over the pixels, as one multiply-add that also converts uint8.

        The memory format is kept. Rounding to bfloat16 is left to the first convolution: done here in the same
        pass it was slower on the CPU, and less exact.
        """
        return torch.addcmul(self.shift, images, self.scale)


def check_groups(model: Classifier) -> None:
    """Raise ValueError unless each parameter of `model` lies in exactly one layer group, or is shared by its layers."""
    owners: dict[int, list[str]] = {}
    for group in model.layer_groups:
        for parameter in group.parameters():
            owners.setdefault(id(parameter), []).append(group.name)
    names = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    problems = [
        f"{name} is in {' and '.join(found) or 'none'}"
        for name, parameter in model.named_parameters()
        if len(found := owners.get(id(parameter), [])) != 1 and not (found and names[id(parameter)] > 1)
    ]
    if problems:
        raise ValueError(f"{len(problems)} parameters are not in exactly one layer group:\n{first_ten(problems)}")
