"""A trained model from Python: it classifies images, is scored on data, and is written to be used elsewhere."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from expkit.api.calling import calling, computing
from expkit.api.overriding import Folders, explaining, listed, overrides_of
from expkit.command import override, shown

if TYPE_CHECKING:
    import pandas as pd

    from expkit.api.evaluation import Evaluation
    from expkit.run_folder import RunFolder
    from expkit.trained.classifier import Trained


def load(run: str | Path, *, device: str = "cpu") -> "Model":
    """The model of a finished run: a folder, an MLflow run id, `best:FOLDER` of a study or a grid, or
    `models:/NAME/VERSION`.

    `device` is cpu, cuda, cuda:1 and so on, or auto: a GPU where there is one. Raises UserError where there is no such
    run or device, or the run has no model yet.
    """
    from expkit.tracking.finding import find_run
    from expkit.trained.classifier import Trained
    from expkit.trainer.precision import pick_device

    with calling(), computing():
        folder = find_run(str(run))
        return Model(folder, Trained.of_run(folder, str(pick_device(device, "device"))))


class Model:
    """The model of a run."""

    def __init__(self, run: "RunFolder", trained: "Trained") -> None:
        self.run = run
        self.trained = trained

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.path

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of their numbers."""
        return self.trained.classes

    def predict(self, images: Any, *, probabilities: bool = False) -> "pd.DataFrame":
        """A row for each image: `class`, its `confidence`, and with `probabilities` a column `p_CLASS` for each class.

        `images` are paths, bytes or base64 text of files, Pillow pictures or arrays: one, a list of them, an array
        N x H x W x 3 or a table. Raises DataError, naming the image, for one that cannot be read rightly.
        """
        return self.trained.predict(images, probabilities=probabilities)

    def evaluate(self, *data: str | Path, config_dir: Folders = (), quiet: bool = False, **keys: Any) -> "Evaluation":
        """Score the model as `task=evaluate` does, and leave in the run's folder what that leaves.

        `data` is nothing for the run's own, a folder of images by class, or overrides such as "data=csv",
        "data.file=TABLE.csv"; what else the command line may give beside the run, such as "batch_size=128", goes there
        too. `keys` are those of the task: `split="all"`, `classes="common"`, `tta=4`, `calibrate=True`.

        Raises UserError for what the command line would refuse.
        """
        from expkit.api.evaluation import Evaluation

        content = self.do("evaluate", data_overrides(data), config_dir, keys, quiet)
        if keys.get("calibrate"):
            self.trained.temperature = content["temperature"]
        return Evaluation(self.folder / "evaluations" / content["name"], content)

    def export(self, out: str | Path, format: Literal["safetensors", "onnx", "torch_export"] = "safetensors") -> Path:
        """Write a folder that works without expkit, as `task=export` does; gives its path.

        Raises UserError where `out` exists, or the export would not give what the run gives.
        """
        self.do("export", [], (), {"out": out, "format": format}, quiet=True)
        return Path(out).expanduser().absolute()

    def do(self, task: str, overrides: Sequence[str], config_dir: Folders, keys: dict[str, Any], quiet: bool) -> Any:
        """Do a task with the run, as `run=RUN task=TASK OVERRIDES` does; gives what it gives."""
        from expkit.build import build
        from expkit.command_line.of_run import config_for

        with calling(quiet=quiet), explaining():
            told = [f"task={task}", *overrides, *overrides_of("task", keys)]
            config = config_for(self.run, told, listed(config_dir))
            with computing():
                return build(config.task, config, self.run, group="task")

    def __repr__(self) -> str:
        return f"Model of {len(self.classes)} classes, from {shown(self.folder)}"


def data_overrides(data: Iterable[str | Path]) -> list[str]:
    """Overrides as they stand, and for a folder of images those that read it."""
    found: list[str] = []
    for one in data:
        is_override = isinstance(one, str) and "=" in one and not Path(one).is_dir()
        found += [str(one)] if is_override else ["data=folders", override("data.root", str(one))]
    return found
