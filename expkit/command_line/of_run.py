"""`run=RUN task=...`: what is done with a run that was trained, by its config and what the command line says anew."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from expkit.build import build
from expkit.command import command
from expkit.command_line.hydra_line import compose
from expkit.config.composition import apply, expanded
from expkit.config.files import load_yaml
from expkit.config.schema import Config
from expkit.errors import UserError, named
from expkit.project import project_of
from expkit.run_folder import RunFolder
from expkit.secrets import resolved
from expkit.task.earlier_run import at
from expkit.tracking.finding import config_of, find_run
from expkit.whole_files import read_json

GIVEN_ANEW = ("task", "data", "batch_size", "num_workers", "tracking", "trainer")
"""What the command line may say beside the run; all else is the run's, as its weights are."""
MACHINE = ("trainer.device", "trainer.threads", "trainer.precision")
USED: Mapping[str, Sequence[str]] = {
    "expkit.task.evaluate": ("data", "batch_size", "num_workers", "tracking", *MACHINE),
    "expkit.task.export": ("data", "tracking"),
    "expkit.task.predict": ("batch_size", "num_workers", "tracking", *MACHINE),
    "expkit.task.report": ("data", "tracking", *MACHINE),
}
"""What of a config has a part in a task that uses a trained model, besides the seed; tracking names the run's store.

The rest is not looked at: how an earlier version of expkit wrote down a training does not matter any more.
"""


def run_of(run: str, overrides: Sequence[str], folders: Sequence[str] = ()) -> tuple[RunFolder, Config, Any]:
    """Do with a run that was trained what the task among `overrides` says.

    Gives its folder, the config that the task had, and what the task gives.
    """
    folder = find_run(unquoted(run), store_in(overrides, folders))
    config = config_for(folder, overrides, folders)
    return folder, config, build(config.task, config, folder, group="task")


def unquoted(run: str) -> str:
    """The RUN of an argument, which may stand between quotes, as the values of keys do."""
    path = expanded(run)
    if run[:1] in ("'", '"') and run[-1:] == run[:1] and not Path(path).exists():
        path = expanded(str(OverridesParser.create().parse_override(f"run={run}").value()))
    return path


def store_in(overrides: Sequence[str], folders: Sequence[str] = ()) -> str | None:
    """The address of the store that is given beside a run; None where none is."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    given = [str(one.input_line) for one in parsed if group_of(one) == "tracking"]
    if not given:
        return None
    tracking = resolved(OmegaConf.masked_copy(compose(*given, folders=folders), "tracking"))["tracking"]
    uri = tracking.get("uri")
    return None if uri is None else expanded(str(uri))


def config_for(folder: RunFolder, overrides: Sequence[str], folders: Sequence[str] = ()) -> Config:
    """The config of a run with the task, data and machine that `overrides` name instead of its own.

    Relative paths of the run's own data lead from its project, others from the working directory; `folders` are those
    of --config-dir. Raises UserError for overrides of anything else, and where no task is named.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    chosen = {one.key_or_group for one in parsed if "." not in one.key_or_group}
    if "task" not in chosen:
        raise UserError(
            f"run={folder.path.name} needs a task, such as task=evaluate or task=predict; to go on with its training "
            f"use  {command(f'resume={folder.path}')}"
        )
    for_fresh = [str(one.input_line) for one in parsed if group_of(one) in chosen.intersection(GIVEN_ANEW)]
    fresh = compose(*for_fresh, folders=folders)
    uses = USED.get(str(fresh.task.get("_target_")))
    for one in parsed:
        refuse_unused(one, folder, fresh.task, uses)
    config = load_yaml(folder.config)
    if uses is not None:
        config = used(config, fresh, uses)
    if uses is None or "data" in uses:  # else it is nobody's business where they lead
        config.data = at(project_of(folder.path, read_json(folder.facts)), config.data)
    for key in chosen:
        config[key] = fresh[key]
    apply([one for one in parsed if one.key_or_group.split(".")[0] not in chosen], config)
    given = ["data"] if "data" in chosen else [one.key_or_group for one in parsed if one.key_or_group[:5] == "data."]
    for key in given:
        OmegaConf.update(config, key, at(Path.cwd(), OmegaConf.select(config, key)), merge=False)
    with named(f"{folder.config}, with what is given beside the run"):
        return config_of(config)


def refuse_unused(one: Override, folder: RunFolder, task: DictConfig, uses: Sequence[str] | None) -> None:
    """Raise UserError for an override that would change the model, or that the task has no use for."""
    key, taken = one.key_or_group, GIVEN_ANEW if uses is None else ("task", *uses)
    if any(key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.") for name in taken):
        return
    why = f"task={str(task._target_).rpartition('.')[2]} has no use for it"
    if group_of(one) not in GIVEN_ANEW:
        why = "the model stays as it was trained"
    hint = f"; the task has a key of that name, task.{key}" if key in task else ""
    raise UserError(
        f"{one.input_line}: with run={folder.path.name} {why}; what may be given beside it is {', '.join(taken)}{hint}"
    )


def used(config: DictConfig, fresh: DictConfig, uses: Sequence[str]) -> DictConfig:
    """A run's config with what a task uses of it, and today's defaults, of `fresh`, in place of the rest."""
    found = OmegaConf.create({key: fresh._get_node(key) for key in fresh if key != "hydra"})
    for key in ("seed", *uses):
        if (node := OmegaConf.select(config, key)) is not None:
            OmegaConf.update(found, key, node, merge=False)
    return found


def group_of(one: Override) -> str:
    """The group of the config, or key at its top, that an override is about."""
    return str(one.key_or_group).split(".")[0]
