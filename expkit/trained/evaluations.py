"""What an evaluation is made of, and what it leaves in a run's folder: RUN/evaluations/NAME/."""

import csv
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from expkit.data.items import Data, Images
from expkit.errors import DataError, UserError
from expkit.model.weights_file import digest
from expkit.record.checkpoint import prediction_table
from expkit.record.confusion import draw_confusion
from expkit.run_folder import RunFolder
from expkit.trained.calibration import temperature_of
from expkit.trained.measuring import Measuring
from expkit.trained.scores import calibration_error, scores_of
from expkit.trainer.evaluate import PLAIN, confusion_matrix, measure
from expkit.whole_files import read_json, write_json, write_whole

log = logging.getLogger("expkit")

OWN = "own"
"""What an evaluation on the run's own data is called."""
SPLITS = frozenset(["valid", "test", "train", "all"])
OWN_NAMES = frozenset([OWN, *(f"{OWN}_{split}" for split in SPLITS)])
"""What is called so, and is about one part of that data: their metrics have no name before them."""
IMAGE = ["file", "label"]
"""The columns of a table of predictions that say what was scored."""
NAME = re.compile(r"[^\W_][\w.-]*")


@dataclass(frozen=True)
class Part:
    """Some labelled images, scored."""

    scores: dict[str, Any]
    table: pa.Table
    """A row for each image, as predictions.parquet has them."""
    matrix: NDArray[np.int64]


def score(measuring: Measuring, images: Images, part: str, *, top_k: int, resamples: int) -> Part:
    """Score the model on images; `part` says which these are. Raises UserError where one cannot be read."""
    classes = measuring.trained.classes
    measured = measuring.run(images, part)
    found = measured.evaluation
    scores = scores_of(found, measured.probabilities(), classes, top_k=top_k, resamples=resamples, seed=measuring.seed)
    matrix = confusion_matrix(found.labels, found.predictions, len(classes))
    return Part(scores, prediction_table(found, images, classes), matrix)


def parts_of(data: Data, split: str) -> dict[str, tuple[Images, ...]]:
    """The images that `split` names, by part: one, or of `auto` those for validation and a labelled test set.

    Raises DataError where there are none, or none with a label.
    """
    every = {"valid": data.valid, "test": data.test, "train": data.train}
    labelled = {name: images for name, images in every.items() if images is not None and (images.labels >= 0).any()}
    if split == "all":
        return {"all": tuple(labelled.values())}
    wanted = ("valid", "test") if split == "auto" else (split,)
    found: dict[str, tuple[Images, ...]] = {name: (labelled[name],) for name in wanted if name in labelled}
    if not found and split == "test":
        what = "a test set without labels" if data.test is not None else "no test set"
        raise DataError(f"task.split=test: the data has {what}; use task.split=valid, or give labels")
    if not found:
        why = data.unfit or "the data has no labelled image to validate on; add images"
        raise DataError(f"{why}, or score all that there are with task.split=all")
    return found


def calibrate(measuring: Measuring, valid: Images) -> dict[str, Any] | None:
    """Fit the model's temperature on validation images, and let it have that; gives what calibration.json holds.

    None, with a warning, where none can be fitted; the temperature is 1 then.
    """
    measuring.trained.temperature = 1.0
    measured = replace(measuring, tta=0).run(valid, "valid for the temperature")
    measured.probabilities()
    before = measured.evaluation
    labels = torch.from_numpy(before.labels)
    right = before.labels == before.predictions
    temperature = temperature_of(measured.logits, labels)
    if temperature is None:
        why = "every one is told rightly" if right.all() else "the model tells them hardly better than by chance"
        log.warning("no temperature can be fitted on the validation images, since %s: it stays 1", why)
        return None
    after = measure([(measured.logits / temperature, labels)], len(measuring.trained.classes))
    measuring.trained.temperature = temperature
    return {
        "temperature": temperature,
        "weights": digest(measuring.trained.weights),
        "images": len(right),
        "before": {"loss": before.metrics["valid_loss"], "ece": calibration_error(before.confidences, right)},
        "after": {"loss": after.metrics["valid_loss"], "ece": calibration_error(after.confidences, right)},
    }


def keep(calibration: Mapping[str, Any] | None, folder: RunFolder) -> None:
    """Let all predictions of a run have the temperature that was fitted, or none where none could be."""
    if calibration is None:
        folder.calibration.unlink(missing_ok=True)
    else:
        write_json(folder.calibration, calibration)


def name_of(data: Mapping[str, Any], is_own: bool, split: str, measuring: Measuring) -> str:
    """What an evaluation is called where nobody says: own, or as the data is, with its split and augmented views."""
    places = (data.get(key) for key in ("root", "file", "source"))
    place = next((str(one) for one in places if isinstance(one, str)), str(data["_target_"]).rpartition(".")[2])
    base = OWN if is_own else re.sub(r"[^\w.-]+", "_", Path(place).stem).strip("_.-") or "data"
    if base in OWN_NAMES and not is_own:
        base = "data"
    if split != "auto":
        base += f"_{split}"
    if not measuring.tta:
        return base
    mixed = "_max" if measuring.use_max else "" if measuring.beta == PLAIN else f"_beta{measuring.beta:g}"
    return f"{base}_tta{measuring.tta}{mixed}"


def check_name(name: str) -> None:
    """Raise UserError for what is no name of a folder."""
    if not NAME.fullmatch(name):
        raise UserError(f"task.name must be letters, digits, '_', '-' and '.', such as holdout_2024, got {name!r}")


def is_other(place: Path, parts: Mapping[str, Part], facts: Mapping[str, Any]) -> bool:
    """Whether a folder holds an evaluation that a new one does not stand for, as one of the same images and more does.

    What a run came to before it was finished, its scores afterwards stand for.
    """
    if not (place / "evaluation.json").exists():
        return False
    try:
        before = read_json(place / "evaluation.json", "fingerprint", "parts", "finished")
        tables = {which: pq.read_table(place / f"{which}.parquet", columns=IMAGE) for which in before["parts"]}
    except (UserError, OSError, pa.ArrowException):  # whatever it is, it is not ours to replace
        return True
    if facts["finished"] and not before["finished"]:
        return False
    if facts["fingerprint"] != before["fingerprint"]:
        return True
    return any(
        which not in parts or not table.equals(parts[which].table.select(IMAGE)) for which, table in tables.items()
    )


def free_name(folder: RunFolder, name: str, parts: Mapping[str, Part], facts: Mapping[str, Any]) -> str:
    """The name itself or, where an evaluation of other images has it, the first of name_2, name_3, ... that is free."""
    names = chain([name], (f"{name}_{number}" for number in count(2)))
    return next(one for one in names if not is_other(folder.path / "evaluations" / one, parts, facts))


def write(folder: RunFolder, name: str, parts: Mapping[str, Part], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write an evaluation's files, evaluation.json last; gives the content of that."""
    place = folder.path / "evaluations" / name
    for other in SPLITS - parts.keys():  # of one that this replaces
        for file in (f"{other}.parquet", f"confusion_{other}.csv", f"confusion_{other}.png"):
            (place / file).unlink(missing_ok=True)
    classes = [one["class"] for one in next(iter(parts.values())).scores["by_class"]]
    for which, part in parts.items():
        write_whole(place / f"{which}.parquet", partial(pq.write_table, part.table))
        write_whole(place / f"confusion_{which}.csv", partial(write_matrix, part.matrix, classes))
        draw_confusion(place / f"confusion_{which}.png", part.matrix, classes, f"{name}: {which}")
    content = {"name": name, **facts, "parts": {which: part.scores for which, part in parts.items()}}
    write_json(place / "evaluation.json", content)
    return content


def write_matrix(matrix: NDArray[np.int64], classes: Sequence[str], path: Path) -> None:
    """Write a confusion matrix as CSV: a row for each label, a column for each prediction."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["label \\ prediction", *classes])
        lines.writerows([name, *row] for name, row in zip(classes, matrix.tolist(), strict=True))
