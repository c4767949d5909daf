"""MLflow's registry of models: the runs that versions are of, and new versions."""

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from expkit.check import nearest
from expkit.errors import UserError

ABSENT, PRESENT = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"


def run_of_version(client: MlflowClient, name: str, version: str, store: str) -> str:
    """The id of the run that a version of a model is of: a number, `latest`, or an alias as `@ALIAS`.

    Raises UserError, which calls the registry `store`, where there is no such model or version, or it is of no run.
    """
    found = version_of(client, name, version, store)
    if not found.run_id:
        raise UserError(
            f"version {found.version} of the model {name} in {store} is of no run: use it by "
            f'mlflow.pyfunc.load_model("models:/{name}/{found.version}")'
        )
    return str(found.run_id)


def version_of(client: MlflowClient, name: str, version: str, store: str) -> ModelVersion:
    """A version of a registered model."""
    try:
        known = client.search_model_versions(f"name = '{name}'") if "'" not in name else []
        if not known:
            names = [model.name for model in client.search_registered_models(max_results=100)]
            hint = nearest(name, names) if names else "none is registered there: tracking.register=NAME does that"
            raise UserError(f"{store} has no model {name!r}; {hint}")
        if version == "latest":
            return max(known, key=lambda one: int(one.version))
        if version.startswith("@"):
            return client.get_model_version_by_alias(name, version[1:])
        return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in (ABSENT, "INVALID_PARAMETER_VALUE"):
            raise
        numbers = ", ".join(sorted((str(one.version) for one in known), key=int))
        raise UserError(f"{store} has no version {version} of the model {name}; it has {numbers}") from error


def register(client: MlflowClient, name: str, run_id: str, model_id: str) -> str:
    """Make a run's logged model the next version of a registered model, made where it is new; gives its number."""
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != PRESENT:
            raise
    return str(client.create_model_version(name, f"models:/{model_id}", run_id, model_id=model_id).version)
