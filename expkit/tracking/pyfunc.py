"""The model that a run leaves in MLflow, as code that MLflow runs when the model is loaded.

`mlflow.pyfunc.load_model(uri).predict(images)` gives class names for a list of encoded images (bytes), or for a table
with one column of encoded images or of arrays H x W x 3 uint8.

MLflow runs this file as it logs the model, too, which is why torch is imported where it is used: the sender has no need
of it, and the import would take most of the time that a model takes to log.
"""

import base64
import json
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from omegaconf import OmegaConf
from PIL import Image

from expkit.config import check_config
from expkit.data.decode import decode, upright_rgb
from expkit.run import build

BATCH = 64


class ImageClassifier(PythonModel):
    """An expkit classifier with its transform and class names."""

    def load_context(self, context: Any) -> None:
        """Rebuild the model from the run's config and weights."""
        from safetensors.torch import load_file

        values = OmegaConf.to_container(OmegaConf.load(context.artifacts["config"]), resolve=True)
        assert isinstance(values, dict)
        config = check_config({str(key): value for key, value in values.items()})
        with open(context.artifacts["classes"], encoding="utf-8") as file:
            self.classes = json.load(file)
        self.transform = build(config.augment, config.image_size).valid
        self.model = build({**config.model, "weights": None}, len(self.classes))
        self.model.load_state_dict(load_file(context.artifacts["weights"]))
        self.model.eval()

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row an image: its class name and the probability of it."""
        import torch

        images = [self.transform(open_image(image)) for image in images_in(model_input)]
        rows: list[tuple[str, float]] = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                logits = self.model(torch.stack(images[start : start + BATCH]).permute(0, 3, 1, 2))
                confidence, index = logits.softmax(dim=1).max(dim=1)
                names = (self.classes[number] for number in index.tolist())
                rows += zip(names, confidence.tolist(), strict=True)
        return pd.DataFrame(rows, columns=["class", "confidence"])


def images_in(model_input: Any) -> list[Any]:
    """The images of a request: the first column of a table, or the items of a list or array."""
    return list(model_input.iloc[:, 0] if isinstance(model_input, pd.DataFrame) else model_input)


def open_image(image: Any) -> Image.Image:
    """An image from its encoded bytes (or those in base64, as a JSON request carries them) or an H x W x 3 array."""
    if isinstance(image, str):
        image = base64.b64decode(image)
    if isinstance(image, bytes):
        return decode(BytesIO(image))
    return upright_rgb(Image.fromarray(np.asarray(image, dtype=np.uint8)))


set_model(ImageClassifier())
