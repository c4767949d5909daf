"""A run's pictures with examples, and its page."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expkit.config.schema import Config
from expkit.data.items import Data
from expkit.errors import DataError
from expkit.record.predictions import read_predictions
from expkit.report.batch import draw_batch, shown_phase
from expkit.report.examples import mistakes_of
from expkit.report.page import Content, write_page
from expkit.report.pictures import draw_mistakes, draw_predictions
from expkit.run_folder import RunFolder
from expkit.threads import aside
from expkit.transfer import Recipe

log = logging.getLogger("expkit")


def make_report(
    config: Config,
    recipe: Recipe | None,
    folder: RunFolder,
    result: Mapping[str, Any],
    data: Data | None,
    *,
    lacking: str = "",
    unexplained: str = "",
) -> Path:
    """Draw what the model sees and where it errs, and write report.html; gives its path.

    `result` is the content of result.json. Without the `recipe` of the run, what it trained on is not drawn; without
    the `data` there are no images but those that were drawn earlier, and `lacking` says why; `unexplained` says why
    there is no Grad-CAM. Raises UserError where a file of the run is damaged, or the disk is full.
    """
    found = read_predictions(folder.predictions, result["classes"]) if folder.predictions.exists() else None
    mistakes = aside(mistakes_of, found, data.valid if data else None) if found else None
    if found and mistakes:
        draw_predictions(folder, found)
        draw_mistakes(folder, mistakes)
    if data and recipe:
        try:
            draw_batch(folder.plots / "batch.png", config, data, shown_phase(config, recipe))
        except DataError as error:
            log.warning("plots/batch.png is not drawn: %s", error)
    return write_page(folder, Content(result, found, mistakes, data, lacking, unexplained))
