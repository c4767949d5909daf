"""What tasks on a run that was trained ask of it."""

from expkit.errors import UserError
from expkit.run_folder import RunFolder


def refuse_fresh(folder: RunFolder, task: str) -> None:
    """Raise UserError where a task that is for a run that was trained was given without one."""
    if not folder.has_begun and not folder.result.exists():
        raise UserError(
            f"task={task} needs a run that was trained: write  run=RUN task={task} ...  in place of an experiment"
        )
