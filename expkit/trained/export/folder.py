"""The folder of an export: made beside its place, checked, and put there whole or not at all."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from expkit.errors import UserError
from expkit.model.weights_file import MANIFEST, digest
from expkit.run_folder import RunFolder
from expkit.trained.classifier import Trained
from expkit.trained.export.card import card
from expkit.trained.export.comparing import Comparison, Sample, compare
from expkit.trained.export.formats import Format, needs, runner, write
from expkit.trained.export.recipe import recipe_of
from expkit.whole_files import write_json


def export_run(folder: RunFolder, out: Path, kind: Format, sample_of: Callable[[Trained], Sample]) -> Comparison:
    """Write the model of a run into the new folder `out`, and give how far it is from the run's own.

    `sample_of` gives the images that it is checked on. Raises UserError where `out` exists, the run has no weights, the
    format cannot hold the model or lacks a package, and where the export gives something else than the run.
    """
    if os.path.lexists(out):
        raise UserError(f"task.out={out} exists already: name a new folder, or remove that one")
    needs(kind)
    trained = Trained.of_run(folder)
    sample = sample_of(trained)
    with whole(out) as place:
        write(kind, trained, sample.images, place)
        comparison = compare(trained, runner(kind, place), sample)
        recipe = recipe_of(trained)
        write_json(place / "preprocessing.json", recipe)
        (place / "classes.json").write_text(json.dumps(trained.classes, ensure_ascii=False, indent=2) + "\n", "utf-8")
        (place / "MODEL_CARD.md").write_text(card(folder, trained, recipe, kind, comparison), "utf-8")
        shutil.rmtree(place / "__pycache__", ignore_errors=True)  # of model.py, which has been run
        files = {path.name: digest(path) for path in sorted(place.iterdir())}
        write_json(place / MANIFEST, {"format": kind, "sha256": files})
    return comparison


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A folder that takes the place of `out` once the block has ended well, and is removed where it has not.

    Raises UserError where it cannot be written.
    """
    place = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        try:
            place.mkdir(parents=True)
            yield place
            os.rename(place, out)
        except OSError as error:
            raise UserError(
                f"task.out={out} could not be written ({os.strerror(error.errno) if error.errno else error}): free "
                "some space, or name another folder"
            ) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
