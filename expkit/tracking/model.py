"""Logs the model of a finished run to MLflow, servable and without pickles."""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType

from expkit.run_folder import RunFolder
from expkit.trained.description import what_serves
from expkit.trained.own_code import own_code, own_modules, requirement
from expkit.urls import file_url
from expkit.whole_files import read_json

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
    "tifffile",
    "torch",
    "torchvision",
    "typing-extensions",
)
"""What the model needs where it is served, besides expkit itself, whose code goes along."""


OPTIONAL = ("imagecodecs", "pillow-heif")
"""What reads further formats: needed there where it is installed here."""


def log_model(folder: RunFolder, run_id: str) -> str:
    """Log the exported weights with code, class names, and how images are read, as the run's `model`; gives its id."""
    # One column of anything: bytes of an encoded image, base64 text, or an array; MLflow has no type for the three.
    # On request a column for each class comes in addition, whatever the schema of the output says.
    signature = ModelSignature(
        inputs=Schema([ColSpec(AnyType())]),  # type: ignore[no-untyped-call]  # mlflow leaves it untyped
        outputs=Schema([ColSpec("string", "class"), ColSpec("double", "confidence")]),
        params=ParamSchema([ParamSpec("probabilities", DataType.boolean, False)]),
    )
    package = Path(__file__).parents[1]
    served = what_serves(folder, folder.exported_weights)
    own = own_modules(served)
    code, requirements = own_code(own)
    with TemporaryDirectory() as place:
        description = Path(place, "served.json")
        description.write_text(json.dumps(served | {"own": own}), encoding="utf-8")
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(package / "tracking" / "pyfunc.py"),
                artifacts={"served": file_url(description), "weights": file_url(folder.exported_weights.resolve())},
                code_paths=[str(package), *code],
                signature=signature,
                pip_requirements=sorted({*(requirement(name) for name in packages(served)), *requirements}),
                # MLflow takes all that the run has at this step for scores of the model, by default 0: traces.
                step=read_json(folder.result, "steps")["steps"] + 1,
            )
    return str(logged.model_id)


def packages(served: dict[str, Any]) -> list[str]:
    """What the model of this run needs: timm only where it comes from there."""
    target = str(served["model"]["_target_"])
    timm = ["timm"] if target.endswith((".timm", ".efficientnet_lite0")) else []
    return [*PACKAGES, *timm, *(name for name in OPTIONAL if is_installed(name))]


def is_installed(name: str) -> bool:
    """Whether there is such a package here."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
