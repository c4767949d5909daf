"""What a finished run comes to: result.json, the exported weights, the traces' last pieces and the curves."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from expkit.config.schema import Config
from expkit.model.weights import read_weights, save_weights, write_tensors
from expkit.record.environment import environment
from expkit.record.plots import draw_losses, draw_schedule, read_traces
from expkit.record.recorder import Recorder, best_epoch
from expkit.run_folder import RunFolder
from expkit.whole_files import write_json, write_whole
from expkit.wiring import Run


def result_of(config: Config, run: Run, recorder: Recorder, run_id: str | None, seconds: float) -> dict[str, Any]:
    """The content of result.json."""
    trainer, objective = run.trainer, config.objective
    best = best_epoch(recorder.history, objective["metric"])
    metrics = {"last": recorder.history[-1], "best": recorder.history[best - 1]}
    result: dict[str, Any] = {
        "objective": {"name": objective["metric"], "value": objective_of(config, recorder)},
        "metrics": metrics | ({"tta": recorder.averaged} if recorder.averaged else {}),
        "best_epoch": best,
        "run_id": run_id,
        "epochs": trainer.state.epochs,
        "steps": trainer.state.step,
        "seconds": seconds,
        "images_per_second": trainer.state.step * min(config.batch_size, len(run.data.train)) / trainer.state.seconds,
        "device": str(trainer.device),
        "fingerprint": run.data.fingerprint,
        "environment": environment(trainer.device),
        **what_is_known(run, chosen_epoch(config, recorder)),
    }
    return result


def objective_of(config: Config, recorder: Recorder) -> float:
    """The value of the objective, in the epoch that it names."""
    return recorder.history[chosen_epoch(config, recorder) - 1][config.objective["metric"]]


def chosen_epoch(config: Config, recorder: Recorder) -> int:
    """The epoch, from 1, that the objective names: the weights that the run exports are those of it."""
    history = recorder.history
    return best_epoch(history, config.objective["metric"]) if config.objective["at"] == "best" else len(history)


def what_is_known(run: Run, epoch: int) -> dict[str, Any]:
    """What a result says of how its model reads images and computes, with the weights of an epoch."""
    return {
        "precision": run.precision,
        "features": run.features(run.recipe.phase_of(epoch)),
        "classes": list(run.data.classes),
        "images": run.data.counts,
        "reading": asdict(run.data.reading),
    }


def average_views(config: Config, folder: RunFolder, run: Run, recorder: Recorder) -> None:
    """Evaluate the weights that the objective chooses over augmented views of the validation images."""
    if config.objective["at"] == "best":
        run.trainer.model.load_state_dict(read_weights(folder.best_weights, key=""))
    phase = run.recipe.phase_of(chosen_epoch(config, recorder))
    valid = run.feed.batches(phase)[1]
    recorder.after_views(run.trainer, run.trainer.evaluate(valid, run.feed.augmented(phase)))


def draw_plots(folder: RunFolder, run: Run, recorder: Recorder) -> None:
    """Draw losses and schedule of a run that has ended."""
    traces = read_traces(folder)
    starts, size = run.recipe.starts, run.feed.epoch_steps
    draw_losses(folder.plots / "losses.png", traces, recorder.history, size, starts)
    hypers = {name: traces[name] for name in run.trainer.hypers.columns}
    begins = {name: epochs * size for name, epochs in starts.items()}
    groups, norms = run.trainer.optimizer.groups, run.recipe.norms_alone(run.trainer.optimizer)
    draw_schedule(folder.plots / "schedule.png", traces["step"], hypers, groups, begins, "step", norms)


def export_weights(config: Config, folder: RunFolder, run: Run) -> None:
    """Write the weights of the whole model; where its body was never built, they come from the cache of features."""
    own = folder.best_weights
    if config.objective["at"] != "best":
        own = folder.exported_weights
        write_whole(own, partial(save_weights, run.trainer.model))
    if run.body is not None:
        whole = read_weights(run.body.weights, key="") | read_weights(own, key="")
        write_whole(folder.exported_weights, partial(write_tensors, whole))
    elif own != folder.exported_weights:
        write_whole(folder.exported_weights, lambda path: shutil.copyfile(own, path))


def write_result(folder: RunFolder, result: Mapping[str, Any]) -> None:
    """Write result.json, which marks the run as finished: what it could go on with is of no use any more."""
    write_json(folder.result, result)
    folder.trace_rows.unlink()
    folder.earlier_checkpoint.unlink(missing_ok=True)
