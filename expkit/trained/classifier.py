"""A trained model that classifies images as its run validated them, to the bit."""

import pkgutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from expkit.build import keys_of
from expkit.data.images.reading import Reading
from expkit.errors import UserError
from expkit.features.extraction import Body
from expkit.model.layout import to_channels_last
from expkit.model.weights import read_safetensors
from expkit.own_functions import made
from expkit.run_folder import RunFolder
from expkit.trained.inputs import images_of, read_input

if TYPE_CHECKING:
    import pandas as pd

BATCH = 64
"""Images that are held and computed at a time."""


class Trained:
    """A model with what it needs: transform, class names, how pixels are read, and the precision of its validation."""

    def __init__(
        self, description: Mapping[str, Any], weights: Path, device: str = "cpu", own: Collection[str] = ()
    ) -> None:
        """Build the model that `expkit.trained.description` describes, with the weights in a safetensors file.

        `own` are modules whose code came along with the description, so that they are imported as they are. Raises
        UserError for any other code than expkit's that the user does not trust, for a damaged file, and one that does
        not fit the model.
        """
        self.description = description
        self.weights = weights
        self.classes: list[str] = description["classes"]
        self.image_size: int = description["image_size"]
        self.reading = Reading(**description["reading"])
        self.transforms = described(description, "augment", self.image_size, own=own)
        self.model = described(description, "model", len(self.classes), own=own)
        load_into(self.model, weights)
        self.device = torch.device(device)
        self.model.eval().requires_grad_(False).to(self.device)
        to_channels_last(self.model)
        self.half = description["precision"] == "bf16"
        self.features = description["features"]
        self.temperature: float = description.get("temperature", 1.0)
        if self.features:
            autocast = torch.bfloat16 if self.features["body"] == "bf16" else None
            self.body = Body(self.model, self.device, autocast)

    @classmethod
    def of_run(cls, folder: RunFolder, device: str = "cpu", weights: Path | None = None) -> "Trained":
        """The model that a run exported; of one that is not finished, the best so far, with a warning.

        `weights` are those of a run that is about to be finished; None: those that the run has.

        Raises UserError where the run has no weights, or none that fit, and where its config, which may come from
        anyone, names code that the user does not trust.
        """
        from expkit.trained.description import check, what_serves  # read configs, as a served model does not
        from expkit.trained.weights import weights_of

        weights = weights or weights_of(folder)
        served = what_serves(folder, weights)
        check(served, folder)
        return cls(served, weights, device)

    def pixels(self, image: Any, number: int = 1) -> Tensor:
        """One image as the model's input, uint8 H x W x 3; `expkit.trained.inputs` says what an image may be.

        Raises DataError, naming its `number`, for one that cannot be read rightly.
        """
        read = read_input(image, number, self.transforms.valid_side, self.reading)
        pixels: Tensor = self.transforms.valid(read)
        return pixels

    def predict(self, images: Any, *, probabilities: bool = False) -> "pd.DataFrame":
        """A row for each image: `class`, its `confidence`, and with `probabilities` a column for each class.

        `images` are paths, bytes or base64 text of files, Pillow pictures or arrays (see `expkit.trained.inputs`): one,
        a list of them, an array N x H x W x 3 or a table. Raises DataError, naming the image, for one that cannot be
        read rightly.
        """
        import pandas as pd

        given = images_of(images)
        parts = [torch.zeros(0, len(self.classes))]
        for start in range(0, len(given), BATCH):
            batch = [self.pixels(image, start + number) for number, image in enumerate(given[start : start + BATCH], 1)]
            parts.append(self.probabilities(torch.stack(batch).permute(0, 3, 1, 2)))
        shares = torch.cat(parts)
        confidence, index = shares.max(dim=1)
        names = [self.classes[number] for number in index.tolist()]
        table = pd.DataFrame({"class": pd.Series(names, dtype=object), "confidence": confidence.double().numpy()})
        if probabilities:
            table = table.join(pd.DataFrame(shares.double().numpy(), columns=[f"p_{name}" for name in self.classes]))
        return table

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """What the model says of images uint8 N x 3 x H x W: float32, N x classes, on the model's device.

        In the precision of validation: with another, a photo in a hundred changes its class. Where validation read
        precomputed features, the body gives them as it did there, with folded batch norms; `images` may also be such
        features, float32 N x D.
        """
        half, taken, network = self.half, images.to(self.device, non_blocking=True), self.model
        if self.features:
            half, network = self.features["head"] == "bf16", self.model.head
            if taken.ndim == 4:
                taken = self.body.features(taken).to(self.device).float()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            logits: Tensor = network(taken).float()
        return logits

    def probabilities(self, images: Tensor) -> Tensor:
        """The calibrated probability of each class: float32, N x classes, on the CPU."""
        return (self.logits(images) / self.temperature).softmax(dim=1).cpu()


def load_into(model: torch.nn.Module, weights: Path) -> None:
    """Load the weights in a safetensors file. Raises UserError for a damaged file, and one that does not fit."""
    try:
        model.load_state_dict(read_safetensors(weights, key=""))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(
            f"{weights} does not fit the model that the run's config describes ({reason}): bring config.yaml and the "
            "model's code back as they were when it trained"
        ) from error


def described(description: Mapping[str, Any], group: str, *wired: object, own: Collection[str]) -> Any:
    """What the node of a group describes; code of `own` modules is taken as it is: it came along."""
    node = description[group]
    if str(node["_target_"]).partition(".")[0] in own:
        return pkgutil.resolve_name(str(node["_target_"]))(*wired, **keys_of(node))
    return made(node, *wired, group=group)
