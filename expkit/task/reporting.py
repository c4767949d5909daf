"""`task=report`: the page of a run, made again from its folder."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from expkit.build import build
from expkit.check import NotNegativeInt, checked
from expkit.command import command, shown
from expkit.config.files import load_yaml
from expkit.config.plan import plan
from expkit.config.schema import Config, Node, check_config
from expkit.errors import UserError, named
from expkit.logs import logging_to
from expkit.run_folder import RunFolder
from expkit.screen import say
from expkit.secrets import resolved
from expkit.tracking import Tracker
from expkit.transfer import Recipe
from expkit.whole_files import read_json

if TYPE_CHECKING:
    from expkit.data.items import Data

log = logging.getLogger("expkit")

SEEN = ("epochs", "batch_size", "image_size", "augment", "sched", "transfer")
"""What of a run's config says which images its training saw, besides the data and the seed."""


@checked
def report(config: Config, folder: RunFolder, *, grad_cam: NotNegativeInt = 8) -> Path:
    """Write report.html of the run in `folder`, and the pictures that it shows, and send them to its MLflow run.

    Gives the path of the page. Evaluations since the training are on it. Where the run's images are gone or have
    changed, it is made without examples, and says so.

    Args:
        config: the run's.
        folder: the run's.
        grad_cam: so many of the validation images with the largest losses are shown with the places that speak for the
            model's prediction (Grad-CAM, Selvaraju et al., 2017), where the extra `explain` is installed; 0: none.

    Raises UserError where the run is not finished, or a file of it is damaged.
    """
    with folder.held(), logging_to(folder.log):
        from expkit.report.making import make_report

        if not folder.result.exists():
            raise UserError(
                "task=report needs a run that is finished: name it with run=RUN, in place of an experiment; one that "
                f"was stopped goes on by  {command('resume=RUN')}"
            )
        result = read_json(folder.result, "classes", "metrics", "best_epoch", "epochs", "seconds", "fingerprint")
        data, lacking = data_of(config.data, result["fingerprint"])
        unexplained = explain(config, folder, data, grad_cam) if data and grad_cam else ""
        trained, recipe = as_trained(config, folder)
        page = make_report(trained, recipe, folder, result, data, lacking=lacking, unexplained=unexplained)
        say(str(shown(page)))
        tracker: Tracker = build(config.tracking, folder, group="tracking")
        tracker.update()
        return page


def as_trained(config: Config, folder: RunFolder) -> tuple[Config, Recipe | None]:
    """The config with what the run's own says of the images that it trained on, and its phases.

    None, with a warning, where that has keys that this version of expkit does not know.
    """
    try:
        with named(str(folder.config)):
            own = resolved(OmegaConf.masked_copy(load_yaml(folder.config), list(SEEN)))
            trained = check_config({**vars(config), **own})
            return trained, plan(trained)
    except UserError as error:
        log.warning("plots/batch.png stays as it is: %s", error)
        return config, None


def data_of(data: Node, fingerprint: str) -> "tuple[Data | None, str]":
    """The data of a run, None where it is gone or another; and then why there are no examples."""
    from expkit.own_functions import made

    # To fetch a data set for a page would be a surprise.
    node = {**data, "download": False} if "download" in data else data
    try:
        read: Data = made(node, group="data")
    except UserError as error:
        return None, f"The run's images cannot be read, so there are no examples of its mistakes: {error}"
    if read.fingerprint != fingerprint:
        return None, (
            f"The run's images have changed since it trained (fingerprint {read.fingerprint}, then {fingerprint}), so "
            "there are no examples of its mistakes."
        )
    return read, ""


def explain(config: Config, folder: RunFolder, data: "Data", count: int) -> str:
    """Draw Grad-CAM of the worst predictions; gives what the page says where that cannot be done."""
    from expkit.report.grad_cam import draw_grad_cam
    from expkit.trained.machine import on_this_machine

    try:
        draw_grad_cam(folder, on_this_machine(config, folder), data.valid, count)
    except UserError as error:
        return f"There is no Grad-CAM: {error}"
    return ""
