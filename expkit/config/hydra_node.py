"""What the `hydra` node of a config may hold: Hydra builds objects of it and runs them before any job looks."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from expkit import trust
from expkit.errors import UserError
from expkit.run_folder import RUN_FILES

CALLBACKS = ("expkit.command_line.guard.KeepRuns", "expkit.grid.tracked.TrackGrid")
SWEEPERS = ("hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "hydra_plugins.expkit_sweeper.ExpkitSweeper")
LAUNCHERS = (
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
)
COMMANDS = ("setup", "srun_args", "python", "additional_parameters", "runtime_env")
"""Keys with which submitit and ray run commands."""
PRE_DISPATCH = re.compile(r"all|(n_jobs|[\d\s*+])+")
"""What joblib may evaluate."""
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
LOGGERS = {
    "class": ("logging.StreamHandler", "logging.NullHandler", "logging.Formatter"),
    "()": ("colorlog.ColoredFormatter",),
}
SEARCHED = ("sampler", "pruner")
"""Keys of the sweeper that name classes of Optuna."""


def check_hydra(hydra: DictConfig) -> None:
    """Raise UserError, naming the key, where the composed `hydra` node would run what is not expkit's or trusted."""
    for name, callback in contents(hydra, "callbacks").items():
        if callback is not None:
            check_plugin(callback, CALLBACKS, f"hydra.callbacks.{name}")
    check_plugin(contents(hydra, "sweeper"), SWEEPERS, "hydra.sweeper")
    launcher = contents(hydra, "launcher")
    check_plugin(launcher, LAUNCHERS, "hydra.launcher")
    if not trust.is_users(str(launcher["_target_"])):
        check_commands(launcher)
    check_subdir(hydra.output_subdir)
    check_job_folder(str(hydra.sweep._get_node("subdir")))
    copied = {name: os.environ.get(name) for name in hydra.job.env_copy}
    for name, value in contents(hydra, "job.env_set").items():
        if copied.get(name) != value:
            raise UserError(
                f"hydra.job.env_set.{name}: a config sets no variables of the environment, which could make programs "
                f"run other code; set it in the shell, in front of the command: {name}=..."
            )
    for key in ("job_logging", "hydra_logging"):
        logging = OmegaConf.to_container(hydra._get_node(key), resolve=False)
        if logging is not None and not isinstance(logging, Mapping):
            raise UserError(f"hydra.{key} must hold keys, got {logging!r}")
        check_logging(logging, f"hydra.{key}")


def contents(hydra: DictConfig, key: str) -> dict[str, Any]:
    """The plain contents of a node, as Hydra will see them. Raises UserError where there are none."""
    node = OmegaConf.select(hydra, key)
    found = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
    if found is not None and not isinstance(found, dict):
        raise UserError(f"hydra.{key} must hold keys, got {found!r}")
    return {str(name): value for name, value in (found or {}).items()}


def check_subdir(name: str | None) -> None:
    """Raise UserError where Hydra's own files would land outside the run's folder, over whatever lies there."""
    if name is not None and (Path(name).name != name or name in ("", "..", *RUN_FILES)):
        raise UserError(
            f"hydra.output_subdir names a folder of its own within that of a run, such as .hydra, not {name!r}"
        )


def check_job_folder(subdir: str) -> None:
    """Raise UserError where the folder of a grid's job, as it is written, is not below that of the grid."""
    if os.path.isabs(subdir) or os.path.normpath(subdir).partition("/")[0] in (".", ".."):
        raise UserError(f"hydra.sweep.subdir names a folder for each job below hydra.sweep.dir, not {subdir!r}")


def check_search_path(found: Any, overrides: Sequence[Override]) -> None:
    """Raise UserError where a config says where further ones come from, or the command line names no folder.

    `found` is what the primary config says; another way than a folder would import a package.
    """
    given = [one.value() for one in overrides if one.get_key_element().lstrip("+") == "hydra.searchpath"]
    paths = [path for value in given if isinstance(value, list) for path in value]
    for path in [*(found or []), *paths]:
        if path not in paths or (":" in str(path) and not str(path).startswith("file://")):
            raise UserError(f"hydra.searchpath: {path} is not used; add a folder of configs with --config-dir DIR")


def check_plugin(node: Any, known: Sequence[str], key: str) -> None:
    """Raise UserError unless a node names one of the known plugins or one of a trusted package, and nothing in it more.

    Hydra builds whatever stands in such a node, however deep.
    """
    target = node.get("_target_") if isinstance(node, Mapping) else None
    if not isinstance(target, str):
        raise UserError(f"{key} must be a plugin with its _target_, got {node!r}")
    if target not in known and not trust.is_users(target):
        raise UserError(trust.refusal(target, f"{key}._target_"))
    for name, value in node.items():
        if key == "hydra.sweeper" and name in SEARCHED:
            trust.check_targets(value, f"{key}.{name}")
        elif key == "hydra.sweeper" and name == "_recursive_" and value is not False:
            raise UserError(f"{key}._recursive_ must be false: what the sweeper holds is not to be built")
        else:
            refuse_targets(value, f"{key}.{name}")


def refuse_targets(value: Any, key: str) -> None:
    """Raise UserError for a node to be built within another, unless its package is trusted."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            if name == "_target_" and not trust.is_users(str(one)):
                raise UserError(trust.refusal(str(one), f"{key}._target_"))
            refuse_targets(one, f"{key}.{name}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            refuse_targets(one, f"{key}[{number}]")


def check_commands(launcher: Mapping[str, Any], key: str = "hydra.launcher") -> None:
    """Raise UserError where a launcher is told what to run."""
    for name, value in launcher.items():
        # A script for Slurm has the keys as lines.
        is_code = "\n" in f"{name}{value}" or (name == "pre_dispatch" and not PRE_DISPATCH.fullmatch(str(value)))
        if value and (name in COMMANDS or is_code):
            raise UserError(f"{key}.{name} can run commands, which a config may not; leave it out")
        if isinstance(value, Mapping):
            check_commands(value, f"{key}.{name}")


def check_logging(node: Any, key: str) -> None:
    """Raise UserError for log handlers that are not the plain ones to the screen: Python builds what such a node names.

    A log file is none of them, since it could be any file; expkit keeps its own log in the run's folder.
    """
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name in LOGGERS and value not in LOGGERS[name] and not trust.is_users(str(value)):
                raise UserError(
                    f"{key}.{name}: {value} is not used for logging; a run logs to expkit.log in its folder, and "
                    f"handlers may be {', '.join(LOGGERS['class'])}"
                )
            check_logging(value, f"{key}.{name}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            check_logging(value, f"{key}[{number}]")
    elif isinstance(node, str) and ("${" in node or (node.startswith(("ext://", "cfg://")) and node not in STREAMS)):
        raise UserError(f"{key}: {node} is not used for logging; streams are {' and '.join(STREAMS)}")
