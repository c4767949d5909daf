"""`task=report run=FOLDER` of a study, which is no run and has no config of its own."""

from collections.abc import Sequence
from pathlib import Path

from expkit.command import shown
from expkit.command_line.of_run import unquoted
from expkit.errors import UserError
from expkit.screen import say
from expkit.whole_files import read_json

REPORT, STORAGE = "task=report", "hydra.sweeper.storage="


def is_report(run: str, overrides: Sequence[str]) -> bool:
    """Whether the page of a study is asked for, `run` being its folder."""
    return REPORT in overrides and read_json(Path(unquoted(run)) / "run.json").get("kind") == "study"


def report(run: str, overrides: Sequence[str]) -> Path:
    """Make the page of the study in the folder `run` again, and give its path.

    Raises UserError for overrides of anything else.
    """
    path = Path(unquoted(run)).resolve()
    storages = [one.removeprefix(STORAGE) for one in overrides if one.startswith(STORAGE)]
    others = [one for one in overrides if one != REPORT and not one.startswith(STORAGE)]
    if others:
        raise UserError(f"run={path.name} is a study, and {REPORT} makes its page again: leave {others[0]!r} out")

    from expkit.sweep.show.again import make_page_again  # imports Optuna, which no other command needs

    page = make_page_again(path, storages[-1] if storages else None)
    say(str(shown(page)))
    return page
