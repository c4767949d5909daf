"""The model that a run leaves in MLflow, as code that MLflow runs when the model is loaded.

`mlflow.pyfunc.load_model(uri).predict(images)` gives class names for a list of encoded images (bytes), or for a table
with one column of encoded images or of arrays H x W x 3 uint8. Images are read as in the run's validation, to the bit.

MLflow runs this file as it logs the model, too, which is why torch is imported where it is used: the sender has no need
of it, and the import would take most of the time that a model takes to log.
"""

import importlib
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from expkit.build import build, keys_of
from expkit.data.images.reading import Reading
from expkit.errors import UserError
from expkit.tracking.inputs import images_of, read_input

BATCH = 64


class ImageClassifier(PythonModel):
    """An expkit classifier with its transform and class names."""

    def load_context(self, context: Any) -> None:
        """Rebuild the model from what `expkit.tracking.model` says of it, and its weights."""
        import torch
        from safetensors.torch import load_file

        from expkit.features.extraction import Body

        with open(context.artifacts["served"], encoding="utf-8") as file:
            served = json.load(file)
        self.classes = served["classes"]
        self.reading = Reading(**served["reading"])
        self.transforms = made(served, "augment", served["image_size"])
        self.model = made(served, "model", len(self.classes))
        self.model.load_state_dict(load_file(context.artifacts["weights"]))
        self.model.eval()
        self.half = served["precision"] == "bf16"
        self.features = served["features"]
        if self.features:
            self.body = Body(
                self.model, torch.device("cpu"), torch.bfloat16 if self.features["body"] == "bf16" else None
            )

    # A hint that MLflow takes for its own business: without one, or with another, it warns at each load.
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row an image: its class name and the probability of it."""
        try:
            return self.classify(model_input)
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error

    def classify(self, request: Any) -> pd.DataFrame:
        """What `predict` gives. Raises UserError, naming the image, for one that cannot be read rightly."""
        import torch

        transform, size = self.transforms.valid, self.transforms.valid_side
        images = [
            transform(read_input(image, number, size, self.reading))
            for number, image in enumerate(images_of(request), 1)
        ]
        rows: list[tuple[str, float]] = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                logits = self.logits(torch.stack(images[start : start + BATCH]).permute(0, 3, 1, 2))
                confidence, index = logits.softmax(dim=1).max(dim=1)
                names = (self.classes[number] for number in index.tolist())
                rows += zip(names, confidence.tolist(), strict=True)
        return pd.DataFrame(rows, columns=["class", "confidence"])

    def logits(self, images: Any) -> Any:
        """What the model says of images uint8 N x 3 x H x W: float32, N x classes.

        In the precision of validation: with another, a photo in a hundred changes its class. Where validation read
        precomputed features, the body gives them as it did there, with folded batch norms.
        """
        import torch

        half, taken, network = self.half, images, self.model
        if self.features:
            half, taken, network = self.features["head"] == "bf16", self.body.features(images).float(), self.model.head
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return network(taken).float()


def made(served: Mapping[str, Any], group: str, *wired: object) -> Any:
    """What the node of a group describes; a function of the user's own is taken as it is: its code came along."""
    node = served[group]
    module, _, name = str(node["_target_"]).rpartition(".")
    if module.partition(".")[0] not in served["own"]:
        return build(node, *wired, group=group)
    return getattr(importlib.import_module(module), name)(*wired, **keys_of(node))


set_model(ImageClassifier())
