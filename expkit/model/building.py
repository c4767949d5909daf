"""From a body to a model: the pooling, the head, the layer groups, the weights, or the head alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from expkit.model.classifier import Classifier, LayerGroup
from expkit.model.head import pool_and_head
from expkit.model.head_only import HeadOnly, head_only
from expkit.model.named_groups import named_groups
from expkit.model.options import Options
from expkit.model.weights import fit_weights, read_weights
from expkit.model.weights_file import weights_file


@dataclass(frozen=True, kw_only=True)
class Body:
    """What makes one model another: a network without its classifier, and what is known of it."""

    name: str
    module: nn.Module
    shape: Sequence[int]
    """Of what it gives for an image: (D, H, W), or (D,) where it pools by itself."""
    groups: Callable[[], list[LayerGroup]]
    """Its own layer groups, asked for where the config names none."""
    classifier: Sequence[str] = ()
    """What its publisher calls the layers that classify."""
    published: Callable[[str], Mapping[str, Tensor]] = read_weights
    """The weights that its publisher calls so. Raises UserError where there are none."""
    is_loaded: bool = False
    """Whether it came with the weights that the config asks for."""
    mean: Sequence[float] = ()
    std: Sequence[float] = ()
    """Of the pixels that its weights were made for, where the config leaves them open."""
    made_for: int | None = None
    """The side in pixels of the images that it was made for."""


def built(
    make_body: Callable[[], Body], classes: int, features: int | None, body_groups: Sequence[str], options: Options
) -> Classifier | HeadOnly:
    """The classifier of `classes` classes on a body, or its head alone for `features`, for which no body is made.

    Raises UserError if the weights cannot be had or do not fit, or an option is impossible.
    """
    if features is not None:
        return head_only(classes, features, body_groups, options)
    body = make_body()
    groups = body.groups() if options.groups is None else named_groups(body.module, options.groups)
    pool, head = pool_and_head(body.name, body.shape, classes, options)
    mean, std = options.mean or body.mean, options.std or body.std
    model = Classifier(body.module, pool, head, body_groups=groups, mean=mean, std=std, made_for=body.made_for)
    if options.weights is not None and not body.is_loaded:
        file = weights_file(options.weights)
        found = read_weights(file) if file else body.published(options.weights)
        fit_weights(model, found, source=options.weights, classifier=body.classifier, part=options.weights_part)
    return model
