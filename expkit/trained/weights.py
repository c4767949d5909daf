"""Which of a run's weights are used."""

import logging
from pathlib import Path

from expkit.command import command
from expkit.errors import UserError
from expkit.run_folder import RunFolder
from expkit.trained.description import outcome_of

log = logging.getLogger("expkit")


def weights_of(folder: RunFolder) -> Path:
    """The weights that a run exported, or, with a warning, those of the best epoch so far of one that is not finished.

    Raises UserError where there are none, and where they are only those of a head.
    """
    if folder.result.exists():
        if not folder.exported_weights.exists():
            raise UserError(
                f"{folder.path} has no weights ({folder.exported_weights.name} is missing): of a sweep's trials only "
                "the best so far keep theirs; name another run, such as best:FOLDER of the sweep, or train it again"
            )
        return folder.exported_weights
    go_on = f"go on with it by  {command(f'resume={folder.path}')}"
    if not folder.best_weights.exists():
        raise UserError(f"{folder.path} was stopped before its first epoch ended, so it has no weights yet: {go_on}")
    outcome = outcome_of(folder)
    if outcome.get("head_only"):
        raise UserError(
            f"{folder.path} is not finished, and what it keeps until then are the weights of its head alone: {go_on}"
        )
    place = f" ({outcome['epoch']} of {outcome['epochs']}, phase {outcome['phase']})" if "phase" in outcome else ""
    log.warning(
        "%s is not finished: what is used are the weights of its best epoch so far%s; %s", folder.path, place, go_on
    )
    return folder.best_weights
