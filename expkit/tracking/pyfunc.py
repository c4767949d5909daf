"""The model that a run leaves in MLflow, as code that MLflow runs when the model is loaded.

`mlflow.pyfunc.load_model(uri).predict(images)` gives class names for a list of encoded images (bytes), or for a table
with one column of encoded images or of arrays H x W x 3 uint8. Images are read as in the run's validation, to the bit.

MLflow runs this file as it logs the model, too, which is why torch is imported where it is used: the sender has no need
of it, and the import would take most of the time that a model takes to log.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from expkit.errors import UserError

BATCH = 64


class ImageClassifier(PythonModel):
    """An expkit classifier with its transform and class names."""

    def load_context(self, context: Any) -> None:
        """Rebuild the model from what `expkit.trained.description` says of it, and its weights."""
        from expkit.trained.classifier import Trained

        description = json.loads(Path(context.artifacts["served"]).read_text(encoding="utf-8"))
        self.trained = Trained(description, Path(context.artifacts["weights"]))

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

        from expkit.trained.inputs import images_of

        images = [self.trained.pixels(image, number) for number, image in enumerate(images_of(request), 1)]
        rows: list[tuple[str, float]] = []
        for start in range(0, len(images), BATCH):
            batch = torch.stack(images[start : start + BATCH]).permute(0, 3, 1, 2)
            confidence, index = self.trained.probabilities(batch).max(dim=1)
            names = (self.trained.classes[number] for number in index.tolist())
            rows += zip(names, confidence.tolist(), strict=True)
        return pd.DataFrame(rows, columns=["class", "confidence"])


set_model(ImageClassifier())
