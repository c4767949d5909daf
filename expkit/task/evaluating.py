"""`task=evaluate`: how good a run's model is, on its own data or on other."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le

from expkit.build import build
from expkit.check import Count, NotNegativeInt, checked
from expkit.command import command
from expkit.config.schema import Config
from expkit.errors import UserError
from expkit.logs import logging_to
from expkit.run_folder import RunFolder
from expkit.task.earlier_run import refuse_fresh
from expkit.task.idle import is_cut
from expkit.tracking import Tracker
from expkit.whole_files import read_json
from expkit.words import many

if TYPE_CHECKING:
    from expkit.data.items import Data
    from expkit.trained.evaluations import Part
    from expkit.trained.measuring import Measuring

log = logging.getLogger("expkit")


@checked
def evaluate(
    config: Config,
    folder: RunFolder,
    *,
    split: Literal["auto", "valid", "test", "train", "all"] = "auto",
    classes: Literal["all", "common"] = "all",
    tta: NotNegativeInt = 0,
    beta: Annotated[float, Ge(0), Le(1)] = 0.25,
    use_max: bool = False,
    top_k: Count = 5,
    resamples: NotNegativeInt = 1000,
    calibrate: bool = False,
    name: str | None = None,
) -> dict[str, Any]:
    """Score the model of the run in `folder` on the labelled images of the config's data; gives evaluation.json.

    `split` says which images: auto are those for validation, and those of the test set where it has labels. Classes
    are matched by name: `all` must be the same, of `common` ones alone images are taken. With `tta` augmented views,
    the mean of their probabilities counts beside that of the plain image, whose share is `beta`; with `use_max`, each
    class has its largest probability in any of them. `top_k` adds the share of images whose class is among so many
    likeliest; `resamples` bootstrap samples give 95% intervals. `calibrate` fits a temperature on the run's own
    validation images first, which all predictions of the run have from then on.

    Leaves evaluations/`name` in the folder, with evaluation.json, and for each part its predictions as parquet, its
    confusion matrix as CSV and as a picture; and metrics `test/accuracy` and so on in the run's MLflow run, of other
    data or with views `name/test/accuracy`. Where `name` is null it is own, or as the data is called, with what `split`
    and `tta` say, and with a number where that is the name of an evaluation of other images.

    Raises UserError for what the user can mend: classes that differ, images that are gone, nothing to score.
    """
    with folder.held(), logging_to(folder.log):
        from expkit.task.evaluation_table import show
        from expkit.trained import evaluations
        from expkit.wiring import read

        check_keys(folder, name, tta, beta, use_max)
        measuring = measuring_of(config, folder, tta=tta, beta=beta, use_max=use_max)
        data = read(config.data, to_train=False)
        is_own = check_data(data, folder, measuring, calibrate)
        if name in evaluations.OWN_NAMES and not is_own:
            raise UserError(f"task.name={name} is that of the run's own data, and this is other: choose another")
        if split == "auto" and not is_own and is_cut(data):
            every = len(data.train) + len(data.valid)
            told = "scored are the %s that are cut off as valid, of %d: task.split=all takes all of them"
            log.warning(told, many(len(data.valid), "image", "images"), every)
        calibration = evaluations.calibrate(measuring, data.valid) if calibrate else None
        parts = score_parts(measuring, data, split, classes, top_k, resamples)
        if calibrate:
            evaluations.keep(calibration, folder)
        facts = facts_of(folder, measuring, data)
        called = name or evaluations.name_of(config.data, is_own, split, measuring)
        called = called_for(folder, called, parts, facts, replace=name is not None)
        content = write(folder, called, parts, facts)
        show(content, folder, called)
        tracker: Tracker = build(config.tracking, folder, group="tracking")
        tracker.update()
        return content


def check_keys(folder: RunFolder, name: str | None, tta: int, beta: float, use_max: bool) -> None:
    """Raise UserError for keys of `evaluate` that do not fit each other, and a folder that is no run's."""
    from expkit.trained.evaluations import check_name
    from expkit.trainer.evaluate import PLAIN

    if name is not None:
        check_name(name)
    refuse_fresh(folder, "task=evaluate needs a run that was trained: name it with run=RUN, in place of an experiment")
    if use_max and not tta:
        raise UserError("task.use_max is about augmented views: say how many with task.tta, such as task.tta=4")
    if beta != PLAIN and (use_max or not tta):
        why = (
            "with task.use_max there is none" if use_max else "say of how many views with task.tta, such as task.tta=4"
        )
        raise UserError(f"task.beta={beta:g} is the share of the image as it is in an average over views: {why}")


def after_training(
    config: Config, folder: RunFolder, data: "Data", *, evaluate_test: bool, calibrate: bool
) -> dict[str, Any]:
    """What is done once with the weights that a training has exported; gives what result.json says of it.

    With `calibrate`, a temperature is fitted on the validation images. With `evaluate_test`, a labelled test set is
    scored: nothing is chosen by it. Where that cannot be done, it is said, and the training stands.
    """
    from expkit.trained import evaluations

    wanted = evaluate_test and "test" in evaluations.parts_of(data, "auto")
    if not (wanted or calibrate):
        return {}
    measuring, found = measuring_of(config, folder, folder.exported_weights), dict[str, Any]()
    try:
        if calibrate:
            evaluations.keep(evaluations.calibrate(measuring, data.valid), folder)
            found["temperature"] = measuring.trained.temperature
        if wanted:
            parts = score_parts(measuring, data, "test", "all", 5, 1000)
            scores = write(folder, evaluations.OWN, parts, facts_of(folder, measuring, data))["parts"]["test"]
            found["test"] = {key: scores[key] for key in ("images", "metrics", "intervals")}
    except UserError as error:
        what = "the test set was not scored" if wanted else "no temperature was fitted"
        again = ["task=evaluate", *(["task.calibrate=true"] if calibrate else [])]
        later = command(f"run={folder.path}", *again)
        log.warning("%s (%s); once that is mended, do it by  %s", what, error, later)
    return found


def measuring_of(
    config: Config,
    folder: RunFolder,
    weights: Path | None = None,
    *,
    tta: int = 0,
    beta: float = 0.25,
    use_max: bool = False,
) -> "Measuring":
    """A run's model, ready to be measured as the config's batch size, workers and trainer say.

    `weights` are those of a run that is about to be finished; None: those that the run has.
    """
    from expkit.trained.machine import on_this_machine
    from expkit.trained.measuring import Measuring

    trained = on_this_machine(config, folder, weights)
    if tta and not trained.transforms.random:
        raise UserError(
            f"task.tta={tta} averages over augmented views, but the run's augmentation is not random, so that all "
            "views would be alike: leave task.tta out"
        )
    return Measuring(trained, config.batch_size, config.num_workers, config.seed, tta, beta, use_max)


def check_data(data: "Data", folder: RunFolder, measuring: "Measuring", calibrate: bool) -> bool:
    """Whether data is the run's own, by its fingerprint; warns of what makes scores on other data mean less.

    Raises UserError where other data was to calibrate.
    """
    trained_on = read_json(folder.result if folder.result.exists() else folder.facts).get("fingerprint")
    if data.fingerprint == trained_on:
        return True
    if calibrate:
        raise UserError(
            "task.calibrate fits the temperature on the validation images that the run had, and this is other data "
            f"(fingerprint {data.fingerprint}, the run's {trained_on}): leave data out, or task.calibrate"
        )
    log.warning(
        "this is not the data that the run was trained with (fingerprint %s, the run's %s): where it holds images of "
        "that, the scores are too good",
        *(data.fingerprint, trained_on),
    )
    if data.reading != measuring.trained.reading:
        log.warning(
            "pixels are read otherwise than in training (%s; then %s): give data.alpha and data.white as they were",
            *(data.reading, measuring.trained.reading),
        )
    return False


def score_parts(
    measuring: "Measuring", data: "Data", split: str, classes: Literal["all", "common"], top_k: int, resamples: int
) -> "dict[str, Part]":
    """Score each part of the data that `split` names.

    Raises UserError for classes that are not the model's, and where no image is left.
    """
    from expkit.trained.evaluations import parts_of, score
    from expkit.trained.matching import chosen, numbers_of

    numbers = numbers_of(data.classes, measuring.trained.classes, classes)
    scored = {}
    for part, sources in parts_of(data, split).items():
        images = chosen(sources, numbers)
        if left_out := sum(map(len, sources)) - len(images):
            log.warning("%s: left out %s without a label that the model knows", part, many(left_out, "image", "images"))
        if not len(images):
            raise UserError(f"{part} has no image with a label that the model knows, so there is nothing to score")
        scored[part] = score(measuring, images, part, top_k=top_k, resamples=resamples)
    return scored


def facts_of(folder: RunFolder, measuring: "Measuring", data: "Data") -> dict[str, Any]:
    """What evaluation.json says of how and of what an evaluation was."""
    return {
        "fingerprint": data.fingerprint,
        "temperature": measuring.trained.temperature,
        "tta": measuring.tta,
        "beta": measuring.beta if measuring.tta else None,
        "use_max": measuring.use_max,
        "finished": folder.exported_weights.exists(),
    }


def called_for(
    folder: RunFolder, name: str, parts: "dict[str, Part]", facts: Mapping[str, Any], *, replace: bool
) -> str:
    """The name that an evaluation has in the end, `name` or one with a number; says where it meets one of other images.

    With `replace` it stands in the place of that.
    """
    from expkit.trained import evaluations

    free = evaluations.free_name(folder, name, parts, facts)
    if replace and free != name:
        log.warning("evaluations/%s was of other images: this one replaces it", name)
    elif free != name:
        log.warning("evaluations/%s is of other images, and stays: this one is evaluations/%s", name, free)
    return name if replace else free


def write(folder: RunFolder, name: str, parts: "dict[str, Part]", facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write an evaluation and its metrics in the run's folder; gives the content of evaluation.json."""
    from expkit.record.points import add_points
    from expkit.trained import evaluations

    content = evaluations.write(folder, name, parts, facts)
    prefix = "" if name in evaluations.OWN_NAMES else f"{name}/"
    metrics = {
        f"{prefix}{which}/{metric}": value
        for which, part in parts.items()
        for metric, value in part.scores["metrics"].items()
    }
    add_points(folder, metrics)
    return content
