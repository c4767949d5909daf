"""A run from Python: started, and what it came to."""

import html
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.api.model import Model, load
from expkit.api.overriding import Folders, explaining, listed

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Result:
    """A run and what it came to."""

    folder: Path
    """The run's folder, which `expkit.load` and the command line take."""
    value: float
    """What the task gave: of a training, the objective."""

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The content of result.json; empty where the task leaves none."""
        from expkit.run_folder import read_json

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

        points = pd.read_json(self.folder / "metrics.jsonl", lines=True, precise_float=True)
        names = [name for name in points.name.unique() if name.startswith(("train_", "valid_"))]
        table = points[points.name.isin(names)].pivot(index="step", columns="name", values="value")
        return table[names].rename_axis(index="epoch", columns=None)

    @property
    def predictions(self) -> "pd.DataFrame":
        """The predictions on the validation images, of the best epoch."""
        import pandas as pd

        return pd.read_parquet(self.folder / "predictions.parquet")

    def load(self) -> Model:
        """The model that was trained."""
        return load(self.folder)

    def _repr_html_(self) -> str:
        title = html.escape(str(self.folder))
        if not self.facts:
            return f"<p>{self.value:.4g}, in {title}</p>"
        name, value = self.facts["objective"]["name"], self.facts["objective"]["value"]
        told = "no number" if value is None else f"{value:.4f}"
        table = self.metrics.to_html(float_format="{:.4f}".format)
        return f"<p><b>{html.escape(name)} {told}</b> in {title}</p>{table}"


def compose(*overrides: str, config_dir: Folders = ()) -> dict[str, Any]:
    """The config that overrides give, as plain values: checked as before a run, nothing built.

    Raises UserError for whatever the command line would refuse.
    """
    return asdict(prepared(overrides, config_dir)[0])


def run(*overrides: str, config_dir: Folders = ()) -> Result:
    """Run an experiment, or another task of it, as `python -m expkit OVERRIDES` does.

    `config_dir` are folders of configs of your own. Raises UserError for what can be mended.
    """
    from expkit.build import build
    from expkit.config.composed import experiment, written
    from expkit.run_folder import RunFolder
    from expkit.secrets import typed_overrides

    config, composed, hydra = prepared(overrides, config_dir)
    path = Path(hydra.run.dir).absolute()
    folder = RunFolder.create(path, experiment(hydra), written(config, composed), typed_overrides(hydra))
    return Result(folder.path, float(build(config.task, config, folder, group="task") or 0.0))


def prepared(overrides: Iterable[str], config_dir: Folders) -> tuple[Any, Any, Any]:
    """The checked config of overrides, what it was composed of, and Hydra's node."""
    from omegaconf import OmegaConf, open_dict

    from expkit.command_line.hydra_line import compose as composed_by
    from expkit.errors import UserError
    from expkit.tracking.finding import config_of

    with explaining():
        composed = composed_by(*overrides, folders=listed(config_dir))
        hydra = OmegaConf.masked_copy(composed, "hydra").hydra
        if hydra.sweeper.get("params"):
            raise UserError("hydra.sweeper.params are for a sweep: call expkit.sweep")
        with open_dict(composed):
            del composed["hydra"]
        return config_of(composed), composed, hydra
