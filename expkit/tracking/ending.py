"""How a run ends in the store: decided here for a training, a search of a learning rate and a trial."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from expkit.build import Node, build
from expkit.causes import is_refusal
from expkit.errors import UserError
from expkit.interrupt import Interrupted
from expkit.run_folder import RunFolder
from expkit.tracking import Tracker
from expkit.tracking.nested import WITHDRAWN, parent_of

log = logging.getLogger("expkit")


class Ending(NamedTuple):
    """How a run ended, as the store is told."""

    status: str
    """FINISHED, FAILED, KILLED or WITHDRAWN."""
    tags: Mapping[str, str]


@contextmanager
def tracked(node: Node, folder: RunFolder, *, pruned: type[Exception] | None = None) -> Iterator[Tracker]:
    """Track what the block leaves in `folder`, as the node of tracking says, and close the tracked run as it ends.

    `pruned` is what a trial of a study raises where it is given up; None: the run is no trial.
    """
    tracker: Tracker = build(node, folder, group="tracking")
    is_new = not folder.tracking.exists() and parent_of(folder.path) is None
    # Before torch is imported: MLflow's own imports take seconds, and the sender does them meanwhile.
    tracker.start()
    ending = Ending("KILLED", {})  # also by what is no Exception, such as a second Ctrl-C
    try:
        yield tracker
        ending = Ending("FINISHED", {"trial_state": "COMPLETE"} if pruned else {})
    except Exception as error:
        ending = ending_by(error, pruned, is_refused=is_new and is_refusal(error) and not folder.has_begun)
        # The command line shows it; here it is kept for whoever reads the folder later.
        if ending.status in ("KILLED", "FINISHED"):
            log.info("%s", error)
        else:
            log.info("failed: %s", error, exc_info=not isinstance(error, UserError))
        raise
    finally:
        tracker.finish(ending.status, tags=ending.tags)


def ending_by(error: Exception, pruned: type[Exception] | None, *, is_refused: bool) -> Ending:
    """How a run ends by an exception; with `pruned`, that of a trial that is given up."""
    if isinstance(error, Interrupted):
        return Ending("KILLED", {})
    if pruned is None:
        return Ending(WITHDRAWN if is_refused else "FAILED", {"reason": str(error)})
    if isinstance(error, pruned):
        return Ending("FINISHED", {"trial_state": "PRUNED", "pruned": str(error)})
    return Ending("FAILED", {"trial_state": "FAIL", "failed": str(error)})
