"""The model that a run leaves in MLflow, as code that MLflow runs when the model is loaded.

`mlflow.pyfunc.load_model(uri).predict(images)` gives class names for a list of images, or for a table with one column
of them, and with `params={"probabilities": True}` the probability of every class. Images are paths, encoded files
(bytes or base64), Pillow pictures or arrays, and read as in the run's validation, to the bit.

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


class ImageClassifier(PythonModel):
    """An expkit classifier with its transform and class names."""

    def load_context(self, context: Any) -> None:
        """Rebuild the model from what `expkit.trained.description` says of it, and its weights."""
        from expkit.trained.classifier import Trained

        description = json.loads(Path(context.artifacts["served"]).read_text(encoding="utf-8"))
        self.trained = Trained(description, Path(context.artifacts["weights"]), own=description["own"])

    # A hint that MLflow takes for its own business: without one, or with another, it warns at each load.
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row an image: its class name, the probability of it, and with `probabilities` that of every class."""
        try:
            return self.trained.predict(model_input, **(params or {}))
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


set_model(ImageClassifier())
