"""A run's model on this machine: on which device, by how many threads and in which precision a config says."""

from pathlib import Path

import torch

from expkit.config.schema import Config, filled
from expkit.errors import UserError
from expkit.run_folder import RunFolder
from expkit.trained.classifier import Trained
from expkit.trainer import default
from expkit.trainer.memory import keep_freed
from expkit.trainer.precision import computes_in_bf16, pick_device


def on_this_machine(config: Config, folder: RunFolder, weights: Path | None = None) -> Trained:
    """The model of a run, ready as `config.trainer` says; in the precision of its validation unless one is named there.

    `weights` are those of a run that is about to be finished; None: those that the run has.
    Raises UserError where the device or the precision is not to be had.
    """
    trainer = filled(config.trainer, like=default)
    device, precision = pick_device(trainer["device"]), trainer["precision"]
    if trainer["threads"]:
        torch.set_num_threads(trainer["threads"])
    if device.type == "cpu":
        keep_freed()
    trained = Trained.of_run(folder, str(device), weights)
    if precision not in ("auto", trained.description["precision"]):
        if trained.features:
            raise UserError(
                f"trainer.precision={precision}: a head that was validated on precomputed features reads them as they "
                "were computed; leave trainer.precision out"
            )
        trained.half = computes_in_bf16(precision, trained.model, device, trained.image_size)
    return trained
