"""Tasks that are done with a run that was trained, and not with one of their own."""

import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from expkit.config.files import load_yaml
from expkit.config.schema import check_node
from expkit.errors import UserError
from expkit.project import project_of
from expkit.run_folder import RunFolder
from expkit.whole_files import read_json


def refuse_fresh(folder: RunFolder, told: str) -> None:
    """Raise UserError, saying `told`, where a task on an earlier run was given an experiment in place of one.

    A training that was stopped before it began is an earlier run, too, and has an answer of its own.
    """
    task = str(OmegaConf.select(load_yaml(folder.config), "task._target_"))
    is_training = task == "expkit.task.train"
    if not (is_training or folder.has_begun or folder.result.exists()):
        raise UserError(told)


def data_node(folder: RunFolder) -> dict[str, Any]:
    """The data of a run as its config has it, relative paths led from its project.

    Raises UserError for a node that is none of the data, or names what is not trusted.
    """
    node = OmegaConf.to_container(at(project_of(folder.path, read_json(folder.facts)), load_yaml(folder.config).data))
    assert isinstance(node, dict)
    return check_node("data", {str(key): value for key, value in node.items()})


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
