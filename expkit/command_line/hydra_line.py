"""What stands behind `python -m expkit`: Hydra's own command line, with expkit's loader of configs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig

from expkit import trust
from expkit.check import nearest
from expkit.command import pasted
from expkit.config.composition import Loader, search_path_of
from expkit.config.schema import PACKAGE
from expkit.errors import UserError


def run_hydra(task: TaskFunction, arguments: Sequence[str]) -> None:
    """Do what the arguments ask for; `task` gets the config of each job.

    Raises UserError and Hydra's exceptions for what is wrong with them.
    """
    parser, folders = get_args_parser(), config_folders()
    args, unknown = parser.parse_known_intermixed_args(list(arguments), namespace=folders)
    if unknown:
        raise UserError(no_option(unknown[0], [name for name in parser._option_string_actions if name[:2] == "--"]))
    if args.experimental_rerun is not None:
        raise UserError("--experimental-rerun reads a pickle, which may hold code; go on with resume=RUN")
    hydra = open_hydra(args.config_dir or [], args.config_path)
    name = args.config_name or "config"
    try:
        if args.help:
            hydra.app_help(config_name=name, args_parser=parser, args=args)
        elif args.hydra_help:
            hydra.hydra_help(config_name=name, args_parser=parser, args=args)
        elif args.cfg:
            hydra.show_cfg(name, args.overrides, args.cfg, args.package, args.resolve)
        elif args.shell_completion:
            hydra.shell_completion(config_name=name, overrides=args.overrides)
        elif args.info:
            hydra.show_info(args.info, config_name=name, overrides=args.overrides)
        else:
            run(hydra, name, task, args)
    finally:
        GlobalHydra.instance().clear()


def split_folders(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides, and the folders of every `--config-dir`. Raises UserError for any other flag."""
    parser = get_args_parser()
    args, unknown = parser.parse_known_intermixed_args(list(arguments), namespace=config_folders())
    flags = [
        *unknown,
        *(one for one in arguments if one.startswith("-") and not one.startswith(("--config-dir", "-cd"))),
    ]
    if flags:
        raise UserError(f"{flags[0]} has no meaning beside run=RUN, which runs one task; leave it out")
    return args.overrides, args.config_dir or []


def folders_alone(arguments: Sequence[str]) -> list[str] | None:
    """The folders of every `--config-dir`, where arguments say nothing else; None where they do."""
    args, unknown = get_args_parser().parse_known_intermixed_args(list(arguments), namespace=config_folders())
    folders: list[str] = args.config_dir or []
    told = {key for key, value in vars(args).items() if value not in (None, False, [])} - {"config_dir"}
    return None if unknown or told else folders


def no_option(given: str, known: Sequence[str]) -> str:
    """The message for a flag that there is not, with what was probably meant."""
    name, sign, _ = given.partition("=")
    as_key = f"; a key stands without dashes: {pasted(given.lstrip('-'))}" if sign else ""
    return f"{name} is no flag of the command line; {nearest(name, known)}{as_key}"


def config_folders() -> argparse.Namespace:
    """What arguments are collected in: every `--config-dir`, where argparse would keep the last."""

    class Folders(argparse.Namespace):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "config_dir" and value is not None:
                value = [*(getattr(self, name, None) or []), value]
            super().__setattr__(name, value)

    return Folders()


def refuse_plugins() -> None:
    """Raise UserError where Hydra would import plugins of the working directory, which may be anyone's project.

    Hydra imports every module of all packages of that name on Python's path before it reads a config.
    """
    here, own = Path.cwd(), PACKAGE.parent
    on_path = any(Path(place).absolute() == here for place in sys.path)
    found = [path for path in here.glob("hydra_plugins*") if path.name.partition(".")[0] == "hydra_plugins"]
    if found and on_path and here != own.absolute() and not trust.is_users("hydra_plugins.any"):
        raise UserError(
            f"{found[0]} holds code that Hydra would run, whatever the command: work in another directory, or, where "
            "you trust it, run with EXPKIT_TRUST=hydra_plugins"
        )


def open_hydra(folders: Sequence[str] = (), main: str | None = None) -> Hydra:
    """Hydra, with the configs of expkit, or of another folder `main`, and those of a user's `folders`."""
    refuse_plugins()
    version.setbase("1.3")
    hydra = Hydra(task_name="expkit", config_loader=Loader(search_path_of(folders, main)))
    GlobalHydra.instance().initialize(hydra)
    return hydra


def run(hydra: Hydra, name: str, task: TaskFunction, args: argparse.Namespace) -> None:
    """Run one job, or several with `-m` or a config that says so."""
    overrides: list[str] = args.overrides
    mode = RunMode.MULTIRUN if args.multirun else RunMode.RUN
    if not args.multirun and may_say_mode(args):
        mode = hydra.get_mode(config_name=name, overrides=overrides) or mode
    start = hydra.run if mode == RunMode.RUN else hydra.multirun
    start(config_name=name, task_function=task, overrides=[*overrides, f"hydra.mode={mode.name}"])


def may_say_mode(args: argparse.Namespace) -> bool:
    """Whether a config may say that it is of several runs, for which Hydra composes all of it once more to find out.

    Of expkit's own configs only those in sweeps/ do.
    """
    of_a_user = args.config_dir or args.config_path
    return bool(of_a_user) or any(one.lstrip("+").startswith(("hydra", "sweeps")) for one in args.overrides)


def compose(*overrides: str, folders: Sequence[str] = ()) -> DictConfig:
    """The config, Hydra's node included, that these overrides give on the command line."""
    GlobalHydra.instance().clear()
    hydra = open_hydra(folders)
    try:
        return hydra.compose_config(config_name="config", overrides=list(overrides), run_mode=RunMode.RUN)
    finally:
        GlobalHydra.instance().clear()


def multirun(task: TaskFunction, overrides: Sequence[str], folders: Sequence[str] = ()) -> tuple[DictConfig, Any]:
    """Do what `-m` does with these overrides, but leave the log to the program that calls.

    Gives the sweep's config, Hydra's node included, and what its sweeper gives: of a grid, lists of Hydra's JobReturn.
    """
    GlobalHydra.instance().clear()
    hydra = open_hydra(folders)
    told = [*overrides, f"hydra.mode={RunMode.MULTIRUN.name}"]
    try:
        config = hydra.compose_config(config_name="config", overrides=told, run_mode=RunMode.MULTIRUN)
        config.hydra.hydra_logging = {"root": None}  # to Hydra, none
        callbacks = Callbacks(config)
        callbacks.on_multirun_start(config=config, config_name="config")
        context = HydraContext(config_loader=hydra.config_loader, callbacks=callbacks)
        sweeper = Plugins.instance().instantiate_sweeper(config=config, hydra_context=context, task_function=task)
        done = sweeper.sweep(arguments=list(config.hydra.overrides.task))
        callbacks.on_multirun_end(config=config, config_name="config")
        return config, done
    finally:
        GlobalHydra.instance().clear()
