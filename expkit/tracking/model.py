"""Logs the model of a finished run to MLflow, servable and without pickles."""

import json
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import AnyType
from omegaconf import OmegaConf

from expkit.run_folder import RunFolder, read_json

PACKAGES = (
    "annotated-types",
    "filelock",
    "mlflow",
    "numpy",
    "omegaconf",
    "pandas",
    "pillow",
    "pyarrow",
    "pydantic",
    "safetensors",
    "torch",
    "torchvision",
    "typing-extensions",
)
"""What the model needs where it is served, besides expkit itself, whose code goes along."""


def log_model(folder: RunFolder, run_id: str) -> None:
    """Log the exported weights with code, config and class names as the run's `model`."""
    # One column of anything: bytes of an encoded image, base64 text, or an array; MLflow has no type for the three.
    signature = ModelSignature(
        inputs=Schema([ColSpec(AnyType())]),  # type: ignore[no-untyped-call]  # mlflow leaves it untyped
        outputs=Schema([ColSpec("string", "class"), ColSpec("double", "confidence")]),
    )
    package = Path(__file__).parents[1]
    with TemporaryDirectory() as place:
        classes = Path(place, "classes.json")
        classes.write_text(json.dumps(read_json(folder.result)["classes"]), encoding="utf-8")
        artifacts = {"config": folder.config, "weights": folder.exported_weights, "classes": classes}
        with mlflow.start_run(run_id=run_id):
            mlflow.pyfunc.log_model(
                name="model",
                python_model=str(package / "tracking" / "pyfunc.py"),
                artifacts={name: str(path) for name, path in artifacts.items()},
                code_paths=[str(package)],
                signature=signature,
                pip_requirements=[requirement(name) for name in packages(folder)],
            )


def packages(folder: RunFolder) -> list[str]:
    """What the model of this run needs: timm only where it comes from there."""
    target = str(OmegaConf.load(folder.config).model._target_)
    return [*PACKAGES, "timm"] if target.endswith((".timm", ".efficientnet_lite0")) else [*PACKAGES]


def requirement(name: str) -> str:
    """The version of a package as an index knows it: `2.14.1` of torch `2.14.1+cu130`, which only some indexes have."""
    return f"{name}=={version(name).partition('+')[0]}"
