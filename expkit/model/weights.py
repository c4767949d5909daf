"""Weights of a classifier: read from a file without running code, fitted layer by layer, written as safetensors."""

import logging
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from expkit.errors import UserError, first_ten
from expkit.model.classifier import Classifier
from expkit.model.options import WeightsPart
from expkit.torch_file import HoldsCode, Unreadable, load_torch
from expkit.words import many

log = logging.getLogger("expkit.model")

Weights = Mapping[str, Tensor]
CHECKSUM = "crc32"
"""The key of the checksum among a safetensors file's metadata."""
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types that have values that are no numbers."""

RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}
"""Depths by the number of blocks in each of the four layers, and whether these are bottlenecks."""


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write the whole state of `model` as safetensors. Raises OSError where the disk is full or fails."""
    write_tensors(model.state_dict(), path)


def write_tensors(tensors: Weights, path: str | Path) -> None:
    """Write tensors as safetensors, which want each contiguous (so channels_last goes) and in memory of its own.

    Tied ones are written once for each of their names. A checksum goes with them, since safetensors have none: one bit
    that a disk lost would classify otherwise without a word. Raises OSError where the disk is full or fails.
    """
    apart: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        whole = tensor.detach().contiguous()
        place = whole.untyped_storage().data_ptr()
        apart[name] = whole.clone() if place in taken else whole
        taken.add(place)
    try:
        save_file(apart, path, metadata={CHECKSUM: checksum(apart)})
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        raise (OSError(int(code[1]), os.strerror(int(code[1]))) if code else OSError(str(error))) from error


def read_weights(path: str | Path, key: str = "model.weights: ") -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a file of `torch.save` (.pt, .pth), on the CPU.

    A state dict kept under the key "state_dict" or "model" is found, and the prefix "module." of DataParallel removed.
    `key` begins messages; "" for weights that expkit wrote itself. Raises UserError if the file is missing, damaged,
    holds anything that could run code, no state dict, or (with a key) values that are no numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{key}there is no file {path}")
    found = read_safetensors(path, key) if path.suffix == ".safetensors" else read_torch(path, key)
    nans = [name for name, tensor in found.items() if tensor.dtype in FLOATS and bool(tensor.isnan().any())]
    if nans and key:
        raise UserError(f"{key}{path} holds values that are no numbers (nan), first in {nans[0]}: give whole weights")
    return found


def read_safetensors(path: Path, key: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors file."""
    try:
        tensors: dict[str, Tensor] = load_file(path)
        with safe_open(path, framework="pt") as file:
            told = (file.metadata() or {}).get(CHECKSUM)
    except Exception as error:  # a damaged file fails in any way it likes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{key}{path} is damaged or no safetensors file ({reason}); bring a whole copy") from error
    if told not in (None, checksum(tensors)):
        raise UserError(f"{key}{path} is damaged (its checksum is wrong); bring a whole copy")
    return tensors


def checksum(tensors: Weights) -> str:
    """The CRC-32 of the bytes of tensors in the order of their names."""
    total = 0
    for _, tensor in sorted(tensors.items()):
        total = zlib.crc32(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"


def read_torch(path: Path, key: str) -> dict[str, Tensor]:
    """The state dict that `torch.save` wrote."""
    try:
        found = load_torch(path)
    except HoldsCode as error:
        raise UserError(
            f"{key}{path} is refused because it holds more than tensors, and unpickling that could run code; "
            "where you trust it, load it yourself and save its state_dict() by torch.save or as safetensors"
        ) from error
    except Unreadable as error:
        raise UserError(f"{key}{path} {error}; bring a whole copy") from error
    for name in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    tensors = found if isinstance(found, Mapping) else {}
    if not tensors or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in tensors.items()):
        raise UserError(f"{key}{path} holds no state dict; save one by torch.save(model.state_dict(), FILE)")
    prefix = "module." if all(name.startswith("module.") for name in tensors) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def fit_weights(
    model: Classifier,
    weights: Weights,
    *,
    source: str,
    classifier: Sequence[str] = (),
    part: WeightsPart = "all",
) -> None:
    """Load `weights` into the whole of `model` if expkit wrote them, or into its body if they are a backbone's.

    `source` names the weights in messages. `classifier` lists the modules that classify in the foreign backbone
    ("fc"): they alone may be left unused, which is logged. `part` "body" leaves the head of an expkit file out, too.
    Raises UserError naming the layers that are missing, left over or of another shape.
    """
    own = is_own(weights)
    prefixes = ("head.",) if own and part == "body" else () if own else tuple(f"{name}." for name in classifier)
    used = {name: tensor for name, tensor in weights.items() if not name.startswith(prefixes)}
    target = model if own and part == "all" else model.body
    if own and part == "body":
        used = {name.removeprefix("body."): tensor for name, tensor in used.items()}
    check_fit(target.state_dict(), used, source, head_too=own and part == "all")
    # Files older than `num_batches_tracked` lack it; all other names were checked above.
    target.load_state_dict(used, strict=False)
    if len(used) < len(weights):
        left_out = [name for name in weights if name.startswith(prefixes)]
        log.info("%s: left out %s, since the head is new", source, ", ".join(left_out))


def fit_head(head: nn.Module, weights: Weights, *, source: str) -> None:
    """Load the head among `weights` if expkit wrote them; a foreign backbone's have none, and the head stays new.

    Raises UserError naming the layers that are missing, left over or of another shape.
    """
    if is_own(weights):
        wanted = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
        found = {name: tensor for name, tensor in weights.items() if name.startswith("head.")}
        check_fit(wanted, found, source, head_too=True)
        head.load_state_dict({name.removeprefix("head."): tensor for name, tensor in found.items()}, strict=False)


def is_own(weights: Weights) -> bool:
    """Whether expkit wrote these weights: of a body and a head, or of one of them."""
    return bool(weights) and all(name.startswith(("body.", "head.")) for name in weights)


def check_fit(wanted: Weights, found: Weights, source: str, *, head_too: bool) -> None:
    """Raise UserError, naming the layers, unless `found` has the names and shapes of `wanted`.

    `head_too` says that both are of a whole classifier, so that the advice can tell a head from a body.
    """
    missing = [name for name in wanted if name not in found and not name.endswith("num_batches_tracked")]
    problems = [
        *(f"{name} is {shape(found[name])} in the file, {shape(wanted[name])} in the model" for name in found
          if name in wanted and found[name].shape != wanted[name].shape),
        *(f"{name} {shape(wanted[name])} is missing in the file" for name in missing),
        *(f"{name} {shape(found[name])} is not in the model" for name in found if name not in wanted),
    ]  # fmt: skip
    if problems:
        raise UserError(
            f"model.weights: {source} does not fit the model, "
            f"{many(len(problems), 'tensor differs', 'tensors differ')}:\n{first_ten(problems)}\n"
            + (head_advice(wanted, found) if head_too and same_body(wanted, found) else body_advice(wanted, found))
        )


def same_body(one: Weights, other: Weights) -> bool:
    """Whether two classifiers differ in their heads only."""
    names = [name for name in one.keys() | other.keys() if name.startswith("body.")]
    return all(shape(one.get(name)) == shape(other.get(name)) for name in names)


def head_advice(wanted: Weights, found: Weights) -> str:
    """What to do about a head of another shape, such as one for other classes."""
    gives = f"the file's gives {outputs(found)} classes, the model's {outputs(wanted)}"
    return (
        f"Only the head differs ({gives if outputs(found) else 'the file has none'}): "
        "set model.weights_part=body to take the body alone, or the same model.head, model.pool and model.hidden"
    )


def body_advice(wanted: Weights, found: Weights) -> str:
    """What to do about weights of another network, by what they seem to be."""
    return (
        f"The file looks like {architecture(found)}, the model like {architecture(wanted)}: "
        "choose that model, or weights of this one"
    )


def outputs(weights: Weights) -> int:
    """The number of classes: rows of the last matrix of the head; 0 where there is none."""
    return [0, *(len(tensor) for name, tensor in weights.items() if name.startswith("head.") and tensor.ndim == 2)][-1]


def architecture(weights: Weights) -> str:
    """The kind of network that has these tensors, as far as their names tell."""
    places = [match for name in weights if (match := re.search(r"(?:^|\.)layer([1-4])\.(\d+)\.", name))]
    blocks = tuple(len({place[2] for place in places if place[1] == layer}) for layer in "1234")
    bottleneck = any(".conv3." in name or ".convs.6." in name for name in weights)
    name = RESNETS.get((blocks, bottleneck))
    if name is None:
        return f"another network, of {many(len(weights), 'tensor', 'tensors')} ({', '.join(list(weights)[:3])}, ...)"
    return f"x{name}" if any("stem." in key for key in weights) else name


def shape(tensor: Tensor | None) -> str:
    """The shape of a tensor as people write it: 64x3x7x7."""
    return "nothing" if tensor is None else "x".join(map(str, tensor.shape)) or "one number"
