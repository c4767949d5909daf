"""`tracking.register`: the model of a run, or of the best of a sweep, becomes a version of a registered model."""

import re
from typing import Annotated

from pydantic import AfterValidator

from expkit.build import Node, build
from expkit.errors import UserError
from expkit.run_folder import RunFolder
from expkit.tracking.address import silence_of
from expkit.tracking.finding import MODELS, quiet
from expkit.urls import hide, relative
from expkit.whole_files import read_json


def check_name(name: str) -> str:
    """Raise UserError for what no registry takes as the name of a model."""
    if not name.strip() or name != name.strip() or name in (".", "..") or re.search(r"[/:'\"%]", name):
        raise UserError(
            f"tracking.register={name} can be no name of a model: write one without / : % and quotes, such as "
            f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name).strip('_.') or 'digits'}"
        )
    return name


ModelName = Annotated[str, AfterValidator(check_name)]
"""The name of a registered model."""


def check_registry(uri: str, name: str) -> None:
    """Raise UserError where the store at `uri` answers, but has no registry of models."""
    if silence_of(uri):
        return  # which is said where the run begins to be sent
    with quiet():
        from expkit.tracking.store import OutOfReach, open_store, reason_of

        try:
            client = open_store(uri)
        except OutOfReach:
            return
        try:
            client.search_registered_models(max_results=1)
        except Exception as error:  # whatever a registry may raise
            reason = reason_of(error).partition(". ")[0]
            raise UserError(
                f"tracking.register={name}: {hide(relative(uri))} has no registry of models that answers "
                f"({reason}); leave it out, or name a store with one in tracking.uri (a registry elsewhere "
                "in MLFLOW_REGISTRY_URI)"
            ) from error


def send_model(run: RunFolder, tracking: Node) -> None:
    """Have the model of the best run of a sweep sent, and registered where the node of tracking says so."""
    name = tracking.get("register")
    with run.held():
        run.note(model=True, **({"register": name} if name else {}))
    build(tracking, run, group="tracking").update()


def registered(folder: RunFolder) -> str | None:
    """The version that the model of a run became, as RUN takes it; None where it is not registered."""
    found = read_json(folder.tracking).get("registered")
    return f"{MODELS}{found['name']}/{found['version']}" if found else None
