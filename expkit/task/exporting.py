"""`task=export`: the model of a run as a folder that works without expkit."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from expkit.check import checked
from expkit.command import shown
from expkit.config.schema import Config
from expkit.errors import UserError
from expkit.logs import warning_on_screen
from expkit.own_functions import made
from expkit.run_folder import RunFolder
from expkit.screen import console
from expkit.task.earlier_run import refuse_fresh
from expkit.threads import aside

if TYPE_CHECKING:
    from expkit.data.items import Images
    from expkit.trained.classifier import Trained
    from expkit.trained.export.comparing import Sample

log = logging.getLogger("expkit")

CHECKED = 64
"""Images that an export is checked on, of the validation set from its first to its last."""
NOISE = 16
"""Images of noise that it is checked on where the data is gone."""


@checked
def export(
    config: Config,
    folder: RunFolder,
    *,
    out: str,
    format: Literal["safetensors", "onnx", "torch_export"] = "safetensors",
) -> Path:
    """Write the model of a run, its classes, how it reads images and a card into a new folder, and give its path.

    Before the folder is there, the export is compared with the run's own model, on its validation images where its data
    is still here. The weights are those of the best epoch so far where the run is not finished.

    Args:
        config: the run's.
        folder: the run's.
        out: the folder to make.
        format: "safetensors" (weights, and the network as a file of Python), "onnx", or "torch_export" (a program of
            torch).

    Raises UserError where `out` exists, the run has no weights, the format cannot hold its model or lacks a package, or
    the export would give something else than the run does.
    """
    from expkit.trained.export.folder import export_run

    refuse_fresh(folder, "task=export needs a run that was trained: name it with run=RUN, in place of an experiment")
    with warning_on_screen():
        place = Path(out).expanduser().absolute()
        comparison = export_run(folder, place, format, lambda trained: sample(config, trained))
    names = ", ".join(sorted(path.name for path in place.iterdir()))
    lines = [f"{shown(place)}: {names}", f"  checked {comparison.told}"]
    console(report=True).print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)
    return place


def sample(config: Config, trained: "Trained") -> "Sample":
    """Validation images of the run as its validation saw them, or noise, with a warning, where its data is gone."""
    import numpy as np
    import torch
    from PIL import Image

    from expkit.trained.export.comparing import Sample

    # To fetch a data set for a check would be a surprise.
    node = {**config.data, "download": False} if "download" in config.data else config.data
    try:
        images: Images = made(node, group="data").valid
        chosen = np.unique(np.linspace(0, len(images) - 1, CHECKED).round().astype(int)).tolist()
        side, valid = trained.transforms.valid_side, trained.transforms.valid
        read = aside(lambda: [valid(images.read(index, side)) for index in chosen])
        return Sample(torch.stack(read).permute(0, 3, 1, 2).contiguous(), "validation images")
    except UserError as error:
        log.warning("the run's data cannot be read (%s), so the export is checked on noise", error)
        draw = np.random.default_rng(0)
        side = trained.image_size
        pictures = [Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(NOISE)]
        noise = [trained.transforms.valid(picture) for picture in pictures]
        return Sample(torch.stack(noise).permute(0, 3, 1, 2).contiguous(), "images of noise (the run's data is gone)")
