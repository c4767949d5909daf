"""Tasks that are done with a run that was trained, and not with one of their own."""

from omegaconf import OmegaConf

from expkit.config.files import load_yaml
from expkit.errors import UserError
from expkit.run_folder import RunFolder


def refuse_fresh(folder: RunFolder, told: str) -> None:
    """Raise UserError, saying `told`, where a task on an earlier run was given an experiment in place of one.

    A training that was stopped before it began is an earlier run, too, and has an answer of its own.
    """
    task = str(OmegaConf.select(load_yaml(folder.config), "task._target_"))
    is_training = task == "expkit.task.train"
    if not (is_training or folder.has_begun or folder.result.exists()):
        raise UserError(told)
