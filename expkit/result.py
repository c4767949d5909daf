"""What a finished run comes to: result.json, the exported weights, the traces' last pieces and the plots."""

import shutil
from functools import partial
from typing import Any

from expkit.checkpoint import best_epoch
from expkit.config import Config
from expkit.model.weights import save_weights
from expkit.plots import draw_confusion, draw_losses, draw_schedule, draw_top_losses, read_traces
from expkit.recorder import Recorder
from expkit.run import Run
from expkit.run_folder import RunFolder, write_json, write_whole


def write_result(
    config: Config, folder: RunFolder, run: Run, recorder: Recorder, run_id: str | None, seconds: float
) -> None:
    """Write everything that is known once training has ended; result.json last, which marks the run as finished."""
    trainer, objective = run.trainer, config.objective
    best = best_epoch(recorder.history, objective["metric"])
    if objective["at"] == "best":
        write_whole(folder.exported_weights, lambda path: shutil.copyfile(folder.best_weights, path))
    else:
        write_whole(folder.exported_weights, partial(save_weights, trainer.model))
    traces = read_traces(folder)
    draw_losses(folder.plots / "losses.png", traces, recorder.history, trainer.train.batches)
    hypers = {name: traces[name] for name in trainer.hypers.columns}
    draw_schedule(folder.plots / "schedule.png", traces["step"], hypers, trainer.optimizer.groups, "step")
    draw_confusion(folder, run.data.classes)
    draw_top_losses(folder, run.data.valid)
    metrics = {"last": recorder.history[-1], "best": recorder.history[best - 1]}
    result: dict[str, Any] = {
        "objective": {"name": objective["metric"], "value": metrics[objective["at"]][objective["metric"]]},
        "metrics": metrics,
        "best_epoch": best,
        "run_id": run_id,
        "epochs": trainer.state.epochs,
        "steps": trainer.state.step,
        "seconds": seconds,
        "images_per_second": trainer.state.step * min(config.batch_size, len(run.data.train)) / trainer.state.seconds,
        "precision": trainer.precision,
        "device": str(trainer.device),
        "fingerprint": run.data.fingerprint,
        "classes": list(run.data.classes),
    }
    write_json(folder.result, result)
    folder.trace_rows.unlink()
