"""`run=RUN task=...`: what is done with a run that was trained, by its config and what the command line says anew."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf

from expkit.command import command
from expkit.command_line.hydra_line import compose
from expkit.config.composition import apply
from expkit.config.files import load_yaml
from expkit.config.schema import Config
from expkit.errors import UserError, named
from expkit.project import project_of
from expkit.run_folder import RunFolder
from expkit.tracking.finding import config_of
from expkit.whole_files import read_json

GIVEN_ANEW = ("task", "data", "batch_size", "num_workers", "tracking", "trainer")
"""What the command line may say beside the run; all else is the run's, as its weights are."""


def config_for(folder: RunFolder, overrides: Sequence[str], folders: Sequence[str] = ()) -> Config:
    """The config of a run with the task, data and machine that `overrides` name instead of its own.

    Relative paths of the run's own data lead from its project, others from the working directory; `folders` are those
    of --config-dir. Raises UserError for overrides of anything else, and where no task is named.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    chosen = {one.key_or_group for one in parsed if "." not in one.key_or_group}
    if "task" not in chosen:
        raise UserError(
            f"run={folder.path.name} needs a task, such as task=evaluate or task=predict; to go on with its training "
            f"use  {command(f'resume={folder.path}')}"
        )
    others = [one for one in parsed if group_of(one) not in GIVEN_ANEW]
    for_fresh = [str(one.input_line) for one in parsed if group_of(one) in chosen.intersection(GIVEN_ANEW)]
    fresh = compose(*for_fresh, folders=folders)
    for one in others:
        key = one.key_or_group
        hint = f"; the task has a key of that name, task.{key}" if key in fresh.task else ""
        raise UserError(
            f"{one.input_line}: with run={folder.path.name} the model stays as it was trained; what may be given "
            f"beside it is {', '.join(GIVEN_ANEW)}{hint}"
        )
    config = load_yaml(folder.config)
    config.data = at(project_of(folder.path, read_json(folder.facts)), config.data)
    for key in chosen:
        config[key] = fresh[key]
    apply([one for one in parsed if one.key_or_group.split(".")[0] not in chosen], config)
    given = ["data"] if "data" in chosen else [one.key_or_group for one in parsed if one.key_or_group[:5] == "data."]
    for key in given:
        OmegaConf.update(config, key, at(Path.cwd(), OmegaConf.select(config, key)), merge=False)
    with named(f"{folder.config}, with what is given beside the run"):
        return config_of(config)


def group_of(one: Override) -> str:
    """The group of the config, or key at its top, that an override is about."""
    return str(one.key_or_group).split(".")[0]


def at(folder: Path, node: Any) -> Any:
    """A value or node of a config whose relative paths lead from `folder`, where something lies there."""
    if isinstance(node, DictConfig):
        return OmegaConf.create({key: at(folder, node._get_node(key)) for key in node})
    if isinstance(node, ListConfig):
        return OmegaConf.create([at(folder, node._get_node(number)) for number in range(len(node))])
    value = node._value() if hasattr(node, "_value") else node
    if isinstance(value, str) and value and os.path.lexists(folder / value):
        return str(folder / value)
    return node
