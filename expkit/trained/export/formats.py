"""The formats of an export: how each is written, and how it is run again from its files alone."""

import contextlib
import importlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from expkit.errors import UserError
from expkit.model.classifier import Classifier
from expkit.model.weights import save_weights
from expkit.trained.classifier import Trained
from expkit.trained.export.standalone import FILE, WEIGHTS, source_of

Format = Literal["safetensors", "onnx", "torch_export"]
Runner = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Images uint8 N x 3 x H x W to logits and probabilities, as an export gives them."""

ONNX, PROGRAM = "model.onnx", "model.pt2"


class Computed(nn.Module):
    """What a graph holds: images to logits, and to calibrated probabilities."""

    def __init__(self, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities, float32, N x classes, of images uint8 N x 3 x H x W."""
        # As the model itself would, but not left to what each format makes of a sum of bytes and numbers.
        given = images.float() if isinstance(self.model, Classifier) else images
        logits = self.model(given).float()
        return logits, (logits / self.temperature).softmax(dim=1)


def write(kind: Format, trained: Trained, images: Tensor, place: Path) -> None:
    """Write the model into the folder `place`; `images` show the shape that a graph is made for, but for their number.

    Raises UserError where the model cannot be written so, OSError where the disk is full or fails.
    """
    if kind == "safetensors":
        (place / FILE).write_text(source_of(trained.description, trained.model), encoding="utf-8")
        save_weights(trained.model, place / WEIGHTS)
        return
    try:
        with hushed():
            program = program_of(trained, images)
            graph = torch.onnx.export(program, output_names=["logits", "probabilities"]) if kind == "onnx" else None
    except Exception as error:  # the network's own code runs on symbols, and fails in any way it likes
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"task.format={kind} cannot hold what this model computes ({type(error).__name__}: {reason}): "
            "try another task.format"
        ) from error
    with hushed():
        if graph is None:
            content = io.BytesIO()  # torch itself would abort the process where the disk is full
            torch.export.save(program, content)
            (place / PROGRAM).write_bytes(content.getbuffer())
        else:
            graph.save(place / ONNX)


def needs(kind: Format) -> None:
    """Raise UserError where a package is missing, or cannot be imported, that writes or runs the format."""
    if kind == "onnx":
        packages = ("onnx", "onnxscript", "onnxruntime")
        if lacking := [name for name in packages if importlib.util.find_spec(name) is None]:
            raise UserError(f"task.format=onnx needs {', '.join(lacking)}: pip install 'expkit[onnx]'")
        for name in packages:
            try:
                importlib.import_module(name)
            except ImportError as error:
                again = "pip install --force-reinstall 'expkit[onnx]'"
                raise UserError(f"task.format=onnx needs {name}, which is damaged ({error}): {again}") from error


def program_of(trained: Trained, images: Tensor) -> Any:
    """The model as a graph for any number of images."""
    computed = Computed(trained.model, trained.temperature).eval()
    number = torch.export.Dim("batch", min=1)
    # Of one image the number would be taken for a constant.
    example = torch.cat([images[:1]] * 2).contiguous()
    return torch.export.export(computed, (example,), dynamic_shapes={"images": {0: number}})


@contextmanager
def hushed() -> Iterator[None]:
    """Keep from the screen what torch says of its own exporters."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def runner(kind: Format, place: Path) -> Runner:
    """The model that lies in the folder `place`, as anybody would run it."""
    if kind == "safetensors":
        return from_source(place)
    if kind == "torch_export":
        run = torch.export.load(place / PROGRAM).module()
        return lambda images: tuple(run(images))
    session = importlib.import_module("onnxruntime").InferenceSession(
        str(place / ONNX), providers=["CPUExecutionProvider"]
    )

    def run_onnx(images: Tensor) -> tuple[Tensor, Tensor]:
        logits, probabilities = session.run(None, {"images": images.contiguous().numpy()})
        return torch.from_numpy(logits), torch.from_numpy(probabilities)

    return run_onnx


def from_source(place: Path) -> Runner:
    """The network of model.py with the weights beside it."""
    spec = importlib.util.spec_from_file_location("exported_model", place / FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.build_model()
    return lambda images: (model(images), model.probabilities(images))
