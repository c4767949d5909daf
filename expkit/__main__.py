"""The command line: `python -m expkit +experiment=digits`."""

import os
import re
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from expkit import interrupt
from expkit.check import nearest
from expkit.config import ROOT, Config, check_config
from expkit.errors import UserError
from expkit.run import build
from expkit.run_folder import RunFolder, read_json


def main() -> None:
    """Run the command line and leave with its exit status: 0, 1 for a user's mistake, 130 or 143 after a signal."""
    arguments = sys.argv[1:]
    with reporting(os.environ.get("HYDRA_FULL_ERROR") == "1"):
        if not arguments:
            print(list_experiments())
        elif resumed := [argument for argument in arguments if argument.startswith("resume=")]:
            others = [argument for argument in arguments if argument is not resumed[0]]
            resume(resumed[0].removeprefix("resume="), others)
        else:
            compose_and_run()


@contextmanager
def reporting(wants_traceback: bool) -> Iterator[None]:
    """Turn what the user can mend, and a stop, into one message and the exit status that belongs to it."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except interrupt.Interrupted as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.status)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if wants_traceback:
            traceback.print_exc()
        print(f"error: {explain(error)}", file=sys.stderr)
        sys.exit(1)


def compose_and_run() -> None:
    """Hand over to Hydra, with its own report of errors off: `reporting` explains them with the nearest spelling."""
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    jobs: list[int] = []
    failed: list[int] = []

    def run_job(composed: DictConfig) -> object:
        # Reported here already: what leaves a job as an exception, Hydra comments on.
        jobs.append(len(jobs))
        try:
            with reporting(wants_traceback):
                return run_task(composed)
        except SystemExit as end:
            if end.code != 1 or HydraConfig.get().mode != RunMode.MULTIRUN:
                raise
            failed.append(jobs[-1])  # one bad job leaves the others of a sweep their turn
            return None

    try:
        hydra.main(config_path=str(ROOT / "conf"), config_name="config", version_base="1.3")(run_job)()
    except ValueError as error:  # how Hydra refuses some overrides, such as optim=null
        if jobs:
            raise
        raise UserError(str(error)) from error
    if failed:
        raise UserError(f"{len(failed)} of {len(jobs)} jobs failed: {', '.join(map(str, failed))}")


def run_task(composed: DictConfig) -> object:
    """Run the task of one composed config in the folder that Hydra has made for it."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    experiment = hydra_config.runtime.choices.get("experiment") or "unnamed"
    if not isinstance(experiment, str):
        experiment = "+".join(experiment)
    try:
        config = plain(composed)
        run = RunFolder.create(folder, experiment, asdict(config), hydra_config.overrides.task)
    except UserError:
        forget(folder)
        raise
    return build(config.task, config, run)


def resume(run: str, others: list[str]) -> None:
    """Go on with an interrupted run, in its folder and with its config."""
    if others:
        raise UserError(f"resume={run} goes on with the config of that run, so {others[0]!r} has no place beside it")
    folder = RunFolder.find(run)
    started_in = Path(read_json(folder.facts)["started_in"])
    if started_in.is_dir():
        os.chdir(started_in)
    config = plain(OmegaConf.load(folder.config))
    build(config.task, config, folder)


def plain(composed: object) -> Config:
    """The composed config as checked plain values.

    Raises UserError for a missing or impossible value, naming its key.
    """
    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no default: give it as {error.full_key}=VALUE") from None
    assert isinstance(values, dict)
    return check_config({str(key): value for key, value in values.items()})


def forget(folder: Path) -> None:
    """Remove what Hydra wrote for a run that was refused, where there is nothing else, and folders left empty."""
    if [entry.name for entry in folder.iterdir()] == [".hydra"]:
        shutil.rmtree(folder / ".hydra")
    for empty in (folder, folder.parent):
        if not any(empty.iterdir()):
            empty.rmdir()


def list_experiments() -> str:
    """One line for each experiment: its name and what its file's header says of it."""
    rows = []
    for path in sorted((ROOT / "conf" / "experiment").glob("*.yaml")):
        comments = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]
        rows.append((path.stem, comments[2] if len(comments) > 2 else ""))
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}  {about}" for name, about in rows]
    return "\n".join(
        [
            "expkit: declarative experiments in image classification",
            "",
            "Run one with  python -m expkit +experiment=NAME",
            "",
            *lines,
            "",
            "python -m expkit --help  shows the choices of each group and examples",
        ]
    )


def explain(error: Exception) -> str:
    """The message of an error, with the nearest spelling where a key or a choice does not exist."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}={choice} is no choice of {group}; {nearest(choice, error.options)}"
    match = re.match(r"Could not override '([^']+)'", str(error))
    cause = error.__cause__
    if match and isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
        key = match[1]
        keys = [str(name) for name in cause.parent_node]
        parent = key.rpartition(".")[0]
        return f"{key} is no key of {parent or 'the config'}; {nearest(str(cause.key), keys)}"
    if match and match[1] in ("experiment", "sweeps"):
        return f"write +{match[1]}=NAME, with a plus sign: it adds to the config"
    if match:
        groups = [path.name for path in (ROOT / "conf").iterdir() if path.is_dir()]
        return f"{match[1]} is neither a group nor a key of the config; {nearest(match[1], groups)}"
    return str(error).strip()


if __name__ == "__main__":
    main()
