"""A run from Python: started, and what it came to."""

import html
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.api.calling import calling, computing, directory_kept
from expkit.api.model import Model, load
from expkit.api.overriding import Folders, explaining, listed

if TYPE_CHECKING:
    import pandas as pd
    from hydra.conf import HydraConf
    from omegaconf import DictConfig


@dataclass(frozen=True, repr=False)
class Result:
    """A run and what it came to; of another task than a training, what that gave."""

    folder: Path
    """The run's folder, which `expkit.load` and the command line take."""
    value: Any
    """What the task gave: of a training the objective, of lr_find the learning rate, of evaluate an `Evaluation`, of
    predict, export, report, show_batch and plot_schedule the path of what they wrote, of audit and cache a frame, of
    summary frames called groups and phases, of compare a `Comparison`."""

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The content of result.json; empty where the task leaves none."""
        from expkit.whole_files import read_json

        return read_json(self.folder / "result.json")

    @property
    def metrics(self) -> "pd.DataFrame":
        """The metrics of the last and the best epoch, and those averaged over views: a row each."""
        import pandas as pd

        return pd.DataFrame.from_dict(self.facts.get("metrics", {}), orient="index")

    @property
    def history(self) -> "pd.DataFrame":
        """The metrics of all epochs: a row for each, from 1."""
        import pandas as pd

        points = pd.read_json(self.file("metrics.jsonl"), lines=True, precise_float=True)
        names = [name for name in points.name.unique() if name.startswith(("train_", "valid_"))]
        table = points[points.name.isin(names)].pivot(index="step", columns="name", values="value")
        return table[names].rename_axis(index="epoch", columns=None)

    @property
    def predictions(self) -> "pd.DataFrame":
        """The predictions on the validation images, of the best epoch; of task=predict, those that it wrote."""
        import pandas as pd

        wrote = isinstance(self.value, Path) and self.value.suffix.lower() in (".csv", ".parquet")
        path = self.value if wrote else self.file("predictions.parquet")
        if path.suffix.lower() == ".csv":
            columns = pd.read_csv(path, nrows=0).columns
            text = dict.fromkeys([name for name in columns if name == "file" or name.startswith("class")], "object")
            return pd.read_csv(path, dtype=text, na_filter=False, encoding_errors="surrogateescape")
        return pd.read_parquet(path)

    @property
    def suggestions(self) -> "pd.Series[float]":
        """The learning rates that task=lr_find suggests, by what suggests them."""
        import pandas as pd

        from expkit.whole_files import read_json

        return pd.Series(read_json(self.file("lr_find.json"), "suggestions")["suggestions"], name="lr")

    def file(self, name: str) -> Path:
        """A file of the run. Raises UserError where the task has left none of that name."""
        from expkit.errors import UserError

        path = self.folder / name
        if not path.exists():
            raise UserError(f"{self.folder} has no {name}, which another task leaves")
        return path

    def load(self) -> Model:
        """The model that was trained."""
        return load(self.folder)

    def __repr__(self) -> str:
        from expkit.command import shown
        from expkit.words import figure

        objective = self.facts.get("objective")
        if objective and isinstance(self.value, float):
            return f"{objective['name']} {figure(objective['value'])} in {shown(self.folder)}"
        if isinstance(self.value, Path):
            return str(shown(self.value))
        told = f"{self.value:.4g}" if isinstance(self.value, float) else repr(self.value)
        return told if self.value is not None and not self.folder.exists() else f"{told} in {shown(self.folder)}"

    def _repr_html_(self) -> str:
        if hasattr(self.value, "_repr_html_"):
            return str(self.value._repr_html_())
        if isinstance(self.value, dict):
            frames = (f"<p>{html.escape(name)}</p>{frame.to_html()}" for name, frame in self.value.items())
            return "".join(frames)
        is_training = self.facts and isinstance(self.value, float)
        table = self.metrics.T.to_html(float_format="{:.4f}".format) if is_training else ""
        return f"<p>{html.escape(repr(self))}</p>{table}"


def usable(given: Any, task: str, folder: Path) -> Any:
    """What the function `task` of a task gave, as a program uses it: rows as frames."""
    if task == "expkit.task.evaluate":
        from expkit.api.evaluation import Evaluation

        return Evaluation(folder / "evaluations" / given["name"], given)
    if task == "expkit.task.compare":
        from expkit.api.comparison import Comparison
        from expkit.comparison.answers import answers_of

        return Comparison(folder / "comparison", answers_of(given), list(given.notes))
    if task == "expkit.task.audit":
        from expkit.audit.files import findings_table

        return findings_table(given)
    if task not in ("expkit.task.summary", "expkit.task.cache"):
        return given

    import pandas as pd

    if task == "expkit.task.summary":
        return {name: pd.DataFrame(rows).set_index(name.removesuffix("s")) for name, rows in given.items()}
    return pd.DataFrame(given)


def compose(*overrides: str, config_dir: Folders = ()) -> dict[str, Any]:
    """The config that overrides give, as plain values: checked as before a run, nothing built.

    Raises UserError for whatever the command line would refuse.
    """
    from expkit.tracking.finding import config_of

    with calling(), explaining():
        return asdict(config_of(composed_of(overrides, config_dir)[0]))


def run(*overrides: str, config_dir: Folders = (), quiet: bool = False) -> Result:
    """Run an experiment, or another task of it, as `python -m expkit OVERRIDES` does.

    `run=RUN` among the overrides names an earlier run, with which a task such as `task=predict` is done. `config_dir`
    are folders of configs of your own; `quiet` leaves the progress out.

    Raises UserError for what can be mended.
    """
    from expkit.command_line import of_study
    from expkit.command_line.guard import look
    from expkit.command_line.of_run import run_of
    from expkit.command_line.one_run import run_composed
    from expkit.errors import UserError

    if any(one.startswith("resume=") for one in overrides):
        raise UserError("from Python an interrupted run goes on by  expkit.resume(RUN)")
    earlier = [one for one in overrides if one.startswith("run=")]
    with calling(quiet=quiet), explaining():
        if earlier:
            others = [one for one in overrides if one is not earlier[0]]
            named = earlier[0].removeprefix("run=")
            if of_study.is_report(named, others):
                page = of_study.report(named, others)
                return Result(page.parent, page)
            with computing():
                of, config, given = run_of(named, others, listed(config_dir))
            return Result(of.path, usable(given, str(config.task["_target_"]), of.path))
        composed, hydra, path = composed_of(overrides, config_dir)
        with computing():
            given = run_composed(composed, hydra, path, look(path))
        return Result(path, usable(given, str(composed.task._target_), path))


def resume(run: str | Path, *, allow: Iterable[str] = (), quiet: bool = False) -> Result:
    """Go on with a run that was stopped or killed, in its folder, as `python -m expkit resume=RUN` does.

    Of a run that has ended, what the store lacks is sent. `allow` names changes of its config.yaml that are meant, and
    `data` for images that changed; `quiet` leaves the progress out. A sweep goes on by the same call of `expkit.sweep`.

    Raises UserError for what can be mended.
    """
    from expkit.command_line.going_on import is_sweep, resume_run
    from expkit.errors import UserError

    with calling(quiet=quiet), explaining(), directory_kept(), computing():
        if is_sweep(str(run)):
            raise UserError(f"{run} is a sweep: go on with it by the same call of expkit.sweep")
        folder, given = resume_run(str(run), list(allow))
        return Result(folder.path, given)


def composed_of(overrides: Iterable[str], config_dir: Folders) -> "tuple[DictConfig, HydraConf, Path]":
    """What overrides compose, Hydra's node of it, and the folder of the run."""
    from omegaconf import OmegaConf, open_dict

    from expkit.command_line.hydra_line import compose as composed_by
    from expkit.command_line.one_run import refuse_params

    composed = composed_by(*overrides, "hydra.mode=RUN", folders=listed(config_dir))
    hydra = OmegaConf.masked_copy(composed, "hydra").hydra
    refuse_params(hydra)
    path = Path(composed.hydra.run.dir).absolute()  # which may refer to any key
    with open_dict(composed):
        del composed["hydra"]
    return composed, hydra, path
