"""`task=lr_find`: search a learning rate for an experiment, and train nothing."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from expkit.bar import Bar
from expkit.check import checked, nearest
from expkit.command import command, shown
from expkit.config.lr_find import check_lr_find
from expkit.config.plan import plan
from expkit.config.schema import Config
from expkit.errors import UserError
from expkit.interrupt import StopRequest
from expkit.logs import logging_to
from expkit.run_folder import RunFolder
from expkit.screen import console
from expkit.task.stopping import stopping
from expkit.task.training import searched
from expkit.tracking.ending import tracked
from expkit.whole_files import read_json
from expkit.wiring import assemble

if TYPE_CHECKING:
    from expkit.transfer import Phase, Recipe
    from expkit.wiring import Kept

log = logging.getLogger("expkit")

SEARCH = ("lr", "suggest", "scale", "suggestions", "steps", "num_it")
"""What lr_find.json holds."""

Watch = Callable[[int, float, float], None]


@checked
def lr_find(config: Config, folder: RunFolder, *, phase: str | None = None) -> float:
    """Search a learning rate for a phase of the experiment, as the config node `lr_find` says.

    `phase` names it; None: the first. It is searched with its own frozen groups, rates and batches, on the model as it
    is built: phases before it are not trained. Leaves lr_find.json, lr_find.parquet and plots/lr_find.png in `folder`.

    Gives the suggestion for the head, scaled. Raises UserError for what the user can mend, Interrupted after SIGINT or
    SIGTERM.
    """
    result = folder.path / "lr_find.json"
    with folder.held(), logging_to(folder.log), tracked(config.tracking, folder) as tracker:
        if not result.exists():
            search(config, folder, phase)
    found = read_json(result, *SEARCH)
    # Rates that differ between the groups are no longer so with one number for all.
    key = "optim.lr=" if alike(config.optim.get("lr")) and named(plan(config), phase).lr is None else ""
    report(folder, found, key, tracker.hint())
    return float(found["lr"])


def search(
    config: Config, folder: RunFolder, name: str | None, kept: "Kept | None" = None, watch: Watch | None = None
) -> None:
    """Build the experiment, with what the process `kept`, and search on the phase called `name`.

    `watch` is called after each step with its number, learning rate and smoothed loss; None: a bar on a terminal.
    """
    phase = named(plan(config), name)
    again = f"stopped while searching a learning rate; again with  {command(f'resume={shown(folder.path)}')}"
    with stopping(lambda: again) as stop:
        search_phase(config, folder, phase, stop, kept, watch)


def search_phase(
    config: Config,
    folder: RunFolder,
    phase: "Phase",
    stop: StopRequest,
    kept: "Kept | None",
    watch: Watch | None,
) -> None:
    """Build the experiment and search. Raises Stopped where a signal asks for it."""
    with stop.heeded():
        run = assemble(config, kept)

    from expkit.lr_finder.search import find_lr

    trainer = run.trainer
    trainer.stop = stop
    trainer.prepare(phase)
    peaks = phase.rates(run.base, trainer.optimizer.groups, found=1.0)
    settings = check_lr_find(config.lr_find)
    with closing(run.feed):
        with stop.heeded():
            train = run.feed.open(phase, train=True)
        with nullcontext(watch) if watch else bar(settings.num_it) as told:
            log.info("searching a learning rate for the phase %s; %s", phase.name, run.describe())
            find_lr(trainer, train, peaks, settings, folder, watch=told)
    data = run.data  # which its run in a store has as its inputs
    folder.note(fingerprint=data.fingerprint, classes=list(data.classes), images=data.counts)


def named(recipe: "Recipe", name: str | None) -> "Phase":
    """The phase of a recipe called `name`, the first for None. Raises UserError where there is no such."""
    phases = {phase.name: phase for phase in recipe.phases}
    if name is not None and name not in phases:
        raise UserError(f"task.phase={name} is no phase of this transfer; {nearest(name, phases)}")
    return phases[name] if name else recipe.phases[0]


@contextmanager
def bar(steps: int) -> Iterator[Watch]:
    """Show how far a search of `steps` steps is, a line a minute without a terminal; gives what to call after each."""
    with closing(Bar(steps)) as shown_bar:

        def watch(number: int, lr: float, loss: float) -> None:
            if shown_bar.is_due:
                told = f"lr {lr:.1e}  loss {loss:.4f}"
                shown_bar.show(number + 1, "LR finder", told, searched(number, steps, lr, loss))

        yield watch


def alike(lr: object) -> bool:
    """Whether learning rates in a form of `group_values` are one number for all groups."""
    return isinstance(lr, int | float | str)


def report(folder: RunFolder, found: Mapping[str, Any], key: str, hint: str | None) -> None:
    """Print the suggestions, the chosen one marked, and the rate to use, behind the `key` to give it with if any."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("suggestion")
    table.add_column("lr", justify="right")
    table.add_column("")
    for way, lr in found["suggestions"].items():
        chosen = way == found["suggest"]
        table.add_row(way, f"{lr:.3g}", "<- chosen" if chosen else "", style="bold" if chosen else None)
    where = console()
    where.print(table)
    scaled = "" if found["scale"] == 1 else f" ({found['suggest']} x lr_find.scale={found['scale']:g})"
    steps = f"{found['steps']} of {found['num_it']} steps"
    lines = [
        f"\nlearning rate of the head: {key}{found['lr']:.3g}{scaled}, from {steps}",
        f"  plot     {shown(folder.plots / 'lr_find.png')}",
        f"  folder   {shown(folder.path)}",
        *([f"  compare  {hint}"] if hint else []),
    ]
    where.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)
