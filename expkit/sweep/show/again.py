"""`task=report run=FOLDER` of a study: its page and pictures, made again."""

from pathlib import Path

import optuna

from expkit.errors import UserError
from expkit.run_folder import refuse_links
from expkit.sweep.show.page import make_page
from expkit.sweep.storage import Store
from expkit.sweep.study import Unused
from expkit.tracking import tracker_of
from expkit.urls import hide, sqlite_url
from expkit.whole_files import read_json

HEARTBEAT = 60
"""Seconds; nothing runs here whose heart would beat."""


def make_page_again(folder: Path, storage: str | None = None) -> Path:
    """Write report.html of the study in `folder` anew, with trials since its last command, and send it to its store.

    `storage` is the URL of the study's database, where that is not in the folder: what a folder itself says of servers
    is not asked, since it may come from anyone. Raises UserError where there is no such study.
    """
    refuse_links(folder, nested=False)
    name = read_json(folder / "run.json", "experiment", "name")["name"]
    own = folder / "study.db"
    if storage is None and not own.is_file():
        raise UserError(f"{folder} has no study.db: name the study's database with hydra.sweeper.storage=URL")
    store = Store(storage or sqlite_url(own), HEARTBEAT)
    with store.answering():
        try:
            study = optuna.load_study(study_name=name, storage=store.storage, sampler=Unused())
        except KeyError:
            where = hide(storage) if storage else own
            raise UserError(f"{where} has no study {name}: name its database with hydra.sweeper.storage=URL") from None
        page = make_page(folder, study)
    tracker_of(folder).update()
    return page
