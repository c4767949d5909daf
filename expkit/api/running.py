"""A run from Python: started, and what it came to."""

import html
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.api.calling import calling, computing
from expkit.api.model import Model, load
from expkit.api.overriding import Folders, explaining, listed

if TYPE_CHECKING:
    import pandas as pd
    from hydra.conf import HydraConf
    from omegaconf import DictConfig


@dataclass(frozen=True, repr=False)
class Result:
    """A run and what it came to."""

    folder: Path
    """The run's folder, which `expkit.load` and the command line take."""
    value: float
    """What the task gave: of a training, the objective."""

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

    def __repr__(self) -> str:
        from expkit.command import shown
        from expkit.words import figure

        objective = self.facts.get("objective")
        told = f"{objective['name']} {figure(objective['value'])}" if objective else f"{self.value:.4g}"
        return f"{told} in {shown(self.folder)}"

    def _repr_html_(self) -> str:
        table = self.metrics.T.to_html(float_format="{:.4f}".format) if self.facts else ""
        return f"<p>{html.escape(repr(self))}</p>{table}"


def compose(*overrides: str, config_dir: Folders = ()) -> dict[str, Any]:
    """The config that overrides give, as plain values: checked as before a run, nothing built.

    Raises UserError for whatever the command line would refuse.
    """
    from expkit.tracking.finding import config_of

    with calling(), explaining():
        return asdict(config_of(composed_of(overrides, config_dir)[0]))


def run(*overrides: str, config_dir: Folders = (), quiet: bool = False) -> Result:
    """Run an experiment, or another task of it, as `python -m expkit OVERRIDES` does.

    `config_dir` are folders of configs of your own; `quiet` leaves the progress out. Raises UserError for what can be
    mended.
    """
    from expkit.command_line.guard import look
    from expkit.command_line.one_run import run_composed

    with calling(quiet=quiet), explaining():
        composed, hydra, path = composed_of(overrides, config_dir)
        with computing():
            return Result(path, float(run_composed(composed, hydra, path, look(path)) or 0.0))


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
