"""Which file a value of `model.weights` means; it is not opened here."""

import hashlib
from pathlib import Path

from safetensors import safe_open

from expkit.command import command, override, pasted
from expkit.errors import UserError
from expkit.run_folder import RunFolder
from expkit.whole_files import read_json

NAMES = ("DEFAULT", "IMAGENET1K_V1", "imagenet", "pretrained")
"""What models call their published weights: never a file, so that a folder called imagenet is not in the way."""
SUFFIXES = (".pt", ".pth", ".safetensors")
MANIFEST = "export.json"
"""What lies in a folder of `task=export`: its format, and the digests of its files."""


def weights_file(weights: str) -> Path | None:
    """The file itself, or the one that an earlier run exported; None for a name that the model has to know.

    A run is given by its folder. Relative paths lead from the working directory.
    Raises UserError for a path that leads nowhere, and for a run that is unknown or not finished.
    """
    path = Path(weights)
    if weights in NAMES:
        return None
    if path.is_file():
        return unchanged(path) if (path.parent / MANIFEST).is_file() else path
    if (path / MANIFEST).is_file():
        return unchanged(path / "model.safetensors")
    if path.is_dir():
        return exported_weights(path)
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        raise UserError(f"model.weights: there is no file and no run folder {weights}")
    return None


def unchanged(file: Path) -> Path:
    """A file of a folder that `task=export` made. Raises UserError where it is another than was written there."""
    digests = read_json(file.parent / MANIFEST, "sha256")["sha256"]
    if file.name not in digests:
        raise UserError(f"model.weights: {file.parent} is an export without {file.name}: name one in safetensors")
    if not file.is_file() or digest(file) != digests[file.name]:
        raise UserError(
            f"model.weights: {file} is not the file that was exported (by the sha256 in {MANIFEST}): export the run "
            "again, or copy the file elsewhere where the change is meant"
        )
    return file


def digest(file: Path) -> str:
    """The sha256 of a file."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def exported_weights(run: Path) -> Path:
    """The weights that a finished run left. Raises UserError where there is none."""
    try:
        folder = RunFolder.at(run)
    except UserError as error:
        raise UserError(f"model.weights: {error}") from None
    if not folder.result.is_file():
        so_far = f", or take its best epoch so far: {pasted(override('model.weights', str(folder.best_weights)))}"
        raise UserError(
            f"model.weights: the run {run} is not finished; end it with  {command(f'resume={run}')}"
            f"{so_far if has_body(folder.best_weights) else ''}"
        )
    return folder.exported_weights


def has_body(file: Path) -> bool:
    """Whether a run's weights are of a whole model: where its body is frozen, the head alone is kept until the end."""
    try:
        with safe_open(file, framework="numpy") as tensors:
            names = tensors.keys()
            return any(name.startswith("body.") for name in names)
    except Exception:  # a file that is missing or damaged is no way out either
        return False
