"""The command line: `python -m expkit +experiment=digits`."""

import errno
import logging
import os
import select
import shutil
import sys
import textwrap
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from expkit import interrupt, trust
from expkit.causes import is_full
from expkit.command import command
from expkit.command_line import of_study
from expkit.command_line.going_on import is_sweep, resume_run, resume_sweep
from expkit.command_line.hydra_line import folders_alone, run_hydra, split_folders
from expkit.command_line.of_run import run_of, unquoted
from expkit.command_line.one_run import run_composed
from expkit.config.composed import explain
from expkit.config.composition import search_path_of
from expkit.config.schema import ROOT
from expkit.errors import UserError
from expkit.grid.again import is_sent
from expkit.threads import leave
from expkit.urls import hide
from expkit.words import many

NO_FOLDER = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
"""How a system says that a folder cannot be where it was asked for."""


def main() -> None:
    """Run the command line and leave with its exit status: 0, 1 for a user's mistake, 130 or 143 after a signal."""
    arguments = sys.argv[1:]
    trust.read_environment()
    hush_readers()
    with leaving_at_once(), reporting(os.environ.get("HYDRA_FULL_ERROR") == "1"):
        if (folders := folders_alone(arguments)) is not None:
            print(list_experiments(folders), flush=True)
        elif resumed := [argument for argument in arguments if argument.startswith("resume=")]:
            others = [argument for argument in arguments if argument is not resumed[0]]
            resume(unquoted(resumed[0].removeprefix("resume=")), others)
        elif named := [argument for argument in arguments if argument.startswith("run=")]:
            others = [argument for argument in arguments if argument is not named[0]]
            run = named[0].removeprefix("run=")
            if of_study.is_report(run, others):
                of_study.report(run, others)
            else:
                run_of(run, *split_folders(others))
        else:
            compose_and_run()


def hush_readers() -> None:
    """Keep from the screen what image libraries log of a file: what matters of it is said in a sentence of ours."""
    for name in ("PIL", "tifffile"):
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", module="PIL")


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Let a signal end the process without waiting for a read that a thread has in hand."""
    try:
        yield
    except SystemExit as end:
        if end.code in (130, 143):
            leave(end.code)
        raise


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
        print(f"error: {hide(explain(error))}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        if not is_unread():
            raise
        print("stopped: nobody reads the output any more", file=sys.stderr)
        sys.exit(141)  # as shells say it of the signal SIGPIPE, which Python ignores
    except OSError as error:
        if wants_traceback or not (is_full(error) or error.errno == errno.EROFS):
            raise
        place = error.filename or Path.cwd()
        print(
            f"error: {place} could not be written ({error.strerror}): free some space, or go elsewhere", file=sys.stderr
        )
        sys.exit(1)


def is_unread() -> bool:
    """Whether what reads the output has closed it, as `| head` does; nothing more is written there then."""
    output = select.poll()
    output.register(sys.stdout.fileno(), select.POLLOUT)
    is_closed = any(state & (select.POLLERR | select.POLLHUP) for _, state in output.poll(0))
    if is_closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return is_closed


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
            with (
                reporting(wants_traceback),
                interrupt.ending_with_parent() if is_sent(HydraConfig.get().mode) else nullcontext(),
            ):
                return run_task(composed)
        except SystemExit as end:
            if end.code != 1 or HydraConfig.get().mode != RunMode.MULTIRUN:
                raise
            failed.append(jobs[-1])  # one bad job leaves the others of a sweep their turn
            return None

    try:
        run_hydra(run_job, sys.argv[1:])
    except ValueError as error:  # how Hydra refuses some overrides, such as optim=null
        if jobs:
            raise
        raise UserError(str(error)) from error
    except OSError as error:  # the folder that Hydra was to make
        if jobs or error.errno not in NO_FOLDER:
            raise
        name = Path(error.filename or ".")
        raise UserError(
            f"{shortened(str(name))} cannot be made ({error.strerror}): choose a shorter name, or a place that can be "
            "written to, with hydra.run.dir=DIR (with -m: hydra.sweep.dir=DIR, or another hydra.sweeper.study_name)"
        ) from error
    if failed:
        raise UserError(f"{len(failed)} of {many(len(jobs), 'job', 'jobs')} failed: {', '.join(map(str, failed))}")


def shortened(text: str) -> str:
    """A long text as one line can show it."""
    return text if len(text) < 80 else f"{text[:60]}...{text[-10:]}"


def run_task(composed: DictConfig) -> object:
    """Run the task of one composed config in the folder that Hydra has made for it."""
    hydra = HydraConfig.get()
    return run_composed(composed, hydra, Path(hydra.runtime.output_dir))


def resume(run: str, others: list[str]) -> None:
    """Go on with an interrupted run; of a sweep, send what is not tracked yet. `others` may hold `resume.allow`."""
    allowed, others = allowance(others)
    if others:
        raise UserError(f"resume={run} goes on with the config of that run, so leave {others[0]!r} out")
    if is_sweep(run):
        resume_sweep(Path(run).resolve())
    else:
        resume_run(run, allowed)


def allowance(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What `resume.allow=[KEY,...]` names among arguments, and the other arguments."""
    allowed: list[str] = []
    others = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.lstrip("+") == "resume.allow":
            allowed += [name.strip(" '\"") for name in value.strip("[]").split(",") if name.strip()]
        else:
            others.append(argument)
    return allowed, others


def list_experiments(folders: Sequence[str]) -> str:
    """One line for each experiment, those in a user's folders first: its name and what its file's header says of it.

    Raises UserError where a folder is none.
    """
    search_path_of(folders)
    places = [*(Path(folder).expanduser() for folder in folders), ROOT / "conf"]
    found = {path.stem: path for place in reversed(places) for path in sorted((place / "experiment").glob("*.yaml"))}
    rows = [(name, about(path)) for place in places for name, path in found.items() if path.parent.parent == place]
    width = max(len(name) for name, _ in rows)
    columns = shutil.get_terminal_size((1000, 0)).columns  # a file has lines of any length
    own = [word for folder in folders for word in ("--config-dir", folder)]
    return "\n".join(
        [
            "expkit: declarative experiments in image classification",
            "",
            f"Run one with  {command(*own, '+experiment=NAME')}",
            "",
            *(
                textwrap.fill(f"  {name:<{width}}  {told}".rstrip(), columns, subsequent_indent=" " * (width + 4))
                for name, told in rows
            ),
            "",
            f"{command('--help')}  shows the choices of each group and examples",
        ]
    )


def about(path: Path) -> str:
    """What the header of an experiment's file says of it: its first comment that is neither a package nor a command."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    comments = [line.lstrip("# ").strip() for line in lines if line.startswith("#")]
    return next((one for one in comments if one and not one.startswith(("@package", "python "))), "")


if __name__ == "__main__":
    main()
