"""XResNets: the ResNet-D of "Bag of Tricks for Image Classification with CNNs" (He et al. 2018).

They differ from ResNets in three places: the stem is three small convolutions, a strided bottleneck strides in its
3 x 3 convolution, and the shortcut of a strided block averages before its 1 x 1 convolution, so that no pixel is
skipped.
The last batch norm of each block starts from scale 0, so that a new network starts as its shortcuts.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from expkit.errors import UserError
from expkit.model.building import Body
from expkit.model.groups import resnet_groups

WIDTHS = (64, 128, 256, 512)


def body_of(name: str, blocks: Sequence[int], expansion: int) -> Body:
    """An `xresnet_body`, and what is known of it."""
    module = xresnet_body(blocks, expansion)
    shape = (WIDTHS[-1] * expansion, 7, 7)
    return Body(
        name=name, module=module, shape=shape, groups=partial(resnet_groups, module), published=partial(none, name)
    )


def none(name: str, weights: str) -> Mapping[str, Tensor]:
    """Raise UserError, since nobody has published weights of these."""
    raise UserError(
        f"model.weights={weights}: {name} has no published weights; give model.weights=null transfer=scratch, a file "
        "or a run of this model, or another model"
    )


def xresnet_body(blocks: Sequence[int], expansion: int) -> nn.Sequential:
    """Images N x 3 x H x W -> N x (512 * expansion) x H/32 x W/32, with `blocks` blocks in each of four layers.

    Convolutions start from He's normal distribution, batch norms from scale 1 (0 for the last of a block) and shift 0.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["stem"] = nn.Sequential(*conv_norm_relu(3, 32, stride=2), *conv_norm_relu(32, 32), *conv_norm_relu(32, 64))
    layers["maxpool"] = nn.MaxPool2d(3, stride=2, padding=1)
    channels = 64
    for index, (count, width) in enumerate(zip(blocks, WIDTHS, strict=True)):
        stride = 1 if index == 0 else 2
        first = Block(channels, width, expansion, stride)
        channels = width * expansion
        layers[f"layer{index + 1}"] = nn.Sequential(
            first, *(Block(channels, width, expansion, stride=1) for _ in range(count - 1))
        )
    body = nn.Sequential(layers)
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return body


class Block(nn.Module):
    """Two 3 x 3 convolutions (`expansion` 1) or a bottleneck of 1 x 1, 3 x 3, 1 x 1, added to a shortcut."""

    def __init__(self, channels: int, width: int, expansion: int, stride: int) -> None:
        super().__init__()
        out = width * expansion
        if expansion == 1:
            convs = [*conv_norm_relu(channels, width, stride=stride), *conv_norm(width, out)]
        else:
            convs = [
                *conv_norm_relu(channels, width, kernel=1),
                *conv_norm_relu(width, width, stride=stride),
                *conv_norm(width, out, kernel=1),
            ]
        self.convs = nn.Sequential(*convs)
        nn.init.zeros_(self.convs[-1].get_parameter("weight"))
        self.shortcut = shortcut(channels, out, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """N x channels x H x W -> N x (width * expansion) x H/stride x W/stride."""
        out: Tensor = self.relu(self.convs(x) + self.shortcut(x))
        return out


def shortcut(channels: int, out: int, stride: int) -> nn.Module:
    """What a block adds to its convolutions: the input, averaged to its size and projected to its width."""
    layers: list[nn.Module] = []
    if stride != 1:
        layers.append(nn.AvgPool2d(stride, ceil_mode=True))
    if channels != out:
        layers.extend(conv_norm(channels, out, kernel=1))
    return nn.Sequential(*layers)


def conv_norm(channels: int, out: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """A convolution that keeps the size (but for the stride) and its batch norm."""
    return [
        nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out),
    ]


def conv_norm_relu(channels: int, out: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """`conv_norm` and a ReLU."""
    return [*conv_norm(channels, out, kernel=kernel, stride=stride), nn.ReLU(inplace=True)]
