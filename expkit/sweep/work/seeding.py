"""What a sweep starts from: the LR finder's suggestion on its base config, and the first trial made of that."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from expkit.config.composed import experiment, written
from expkit.config.schema import Config
from expkit.interrupt import Interrupted
from expkit.logs import logging_to
from expkit.run_folder import RunFolder
from expkit.secrets import typed_overrides
from expkit.sweep.space.spaces import Around, Choice, Search, Space, Value
from expkit.sweep.work.stop import Stop
from expkit.task.searching import search as search_lr
from expkit.tracking import path_to_parent
from expkit.tracking.ending import tracked
from expkit.whole_files import read_json

if TYPE_CHECKING:
    from expkit.wiring import Kept


def find_lr(sweep: Path, config: Config, composed: DictConfig, kept: "Kept", stop: Stop) -> dict[str, Any]:
    """Run the LR finder on the first phase of the base config, in a folder below the sweep's; gives lr_find.json.

    `composed` is what the config was made of. A search that a killed worker began there is made anew, one that
    ended is read. Raises UserError where the curve suggests nothing, Interrupted where the sweep is to stop.
    """
    path = sweep / "lr_find"
    if (path / "config.yaml").exists():
        folder = RunFolder(path, experiment())
    else:
        overrides, parent = typed_overrides(HydraConfig.get()), path_to_parent(sweep, path)
        folder = RunFolder.create(
            path, experiment(), written(config, composed), overrides, parent=parent, name="lr_find"
        )

    def watch(step: int, lr: float, loss: float) -> None:
        if number := stop():
            raise Interrupted(number, "stopped while searching a learning rate")

    result = path / "lr_find.json"
    if not result.exists():
        with folder.held(), logging_to(folder.log), tracked(config.tracking, folder):
            search_lr(config, folder, None, kept, watch)
    return read_json(result, "lr")


def first_params(search: Search, composed: DictConfig, lr: float) -> dict[str, Value]:
    """The params of the first trial: the suggested rate, and the base config's values where they lie in the space."""
    choices = HydraConfig.get().runtime.choices
    found: dict[str, Value] = {}
    for param in search.params:
        base = choices[param.key] if param.key in choices else OmegaConf.select(composed, param.key)
        value = lr if isinstance(param.space, Around) else inside(param.space, plain_value(base))
        if value is not None:
            found[param.key] = value
    return found


def plain_value(value: Any) -> Any:
    """A value of a composed config without OmegaConf's containers."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def inside(space: Space, value: Any) -> Value | None:
    """The config's value as the space has it, None where it lies outside."""
    if isinstance(space, Around):
        return None
    if not isinstance(space, Choice):
        return value if space.holds(value) else None
    index = space.index(value)
    return None if index is None else space.values[index]
