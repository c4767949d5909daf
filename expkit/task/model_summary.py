"""`task=summary`: what an experiment trains, before it does."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from expkit.build import build
from expkit.check import checked
from expkit.config.plan import plan
from expkit.config.schema import Config
from expkit.left_open import with_rate, without_weights
from expkit.logs import warning_on_screen
from expkit.run_folder import RunFolder
from expkit.screen import console

if TYPE_CHECKING:
    from rich.table import Table

    from expkit.model.summary import GroupSummary
    from expkit.transfer import Phase


@checked
def summary(config: Config, folder: RunFolder) -> dict[str, list[dict[str, Any]]]:
    """Print the layer groups of the experiment's model, and what each phase of its transfer trains; gives both as rows.

    Groups come with their layers, numbers of parameters and sizes, phases with their epochs. Reads the data for the
    number of classes; trains nothing and leaves nothing but the config in `folder`.

    Raises UserError for whatever the user can mend: files, values that do not fit each other.
    """

    from expkit.model.summary import summary as rows_of

    phases = plan(config).phases
    with warning_on_screen():
        data = build(config.data, group="data")
    # Weights change nothing here, and may have to be downloaded.
    model = build(without_weights(config.model), len(data.classes), group="model")
    optimizer = build(with_rate(config.optim), model, group="optim")
    groups = rows_of(model)
    trained = []
    for phase in phases:
        optimizer.freeze_to(phase.first(optimizer.groups), phase.train_bn)
        trained.append(rows_of(model))
    where = console()
    name = config.model.get("name") or str(config.model["_target_"]).rpartition(".")[2]
    title = "\n  ".join([f"{name} on {data.summary}", *data.notes])
    where.print(f"{title}\n", highlight=False, soft_wrap=True, markup=False)
    where.print(group_table(groups))
    where.print()
    where.print(phase_table(phases, trained))
    moved = [sum(group.trainable for group in moving(*pair)) for pair in zip(phases, trained, strict=True)]
    return {
        "groups": [{"group": one.name, "parameters": one.parameters, "bytes": one.size} for one in groups],
        "phases": [
            {"phase": phase.name, "epochs": phase.epochs, "trains": what_trains(phase, rows), "parameters": count}
            for phase, rows, count in zip(phases, trained, moved, strict=True)
        ],
    }


def group_table(groups: "Sequence[GroupSummary]") -> "Table":
    """A row for each layer group, earliest first, and one for the whole."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("group")
    table.add_column("layers", overflow="fold")
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    for group in groups:
        # Without the prefix they are what model.groups takes.
        layers = ", ".join(name.removeprefix("body.") for name in group.layers)
        table.add_row(group.name, layers, f"{group.parameters:,}", megabytes(group.size))
    parameters, size = (sum(getattr(group, name) for group in groups) for name in ("parameters", "size"))
    table.add_row("all", "", f"{parameters:,}", megabytes(size), style="bold")
    return table


def phase_table(phases: "Sequence[Phase]", trained: "Sequence[Sequence[GroupSummary]]") -> "Table":
    """A row for each phase; `trained` holds the layer groups as the optimizer freezes them in it."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("phase")
    table.add_column("epochs", justify="right", no_wrap=True)
    table.add_column("trains", overflow="fold")
    table.add_column("parameters", justify="right", no_wrap=True)
    for phase, groups in zip(phases, trained, strict=True):
        count = sum(group.trainable for group in moving(phase, groups))
        table.add_row(phase.name, str(phase.epochs), what_trains(phase, groups), f"{count:,}")
    return table


def moving(phase: "Phase", groups: "Sequence[GroupSummary]") -> "Sequence[GroupSummary]":
    """The layer groups that a phase can train: precomputed features never meet the body, so not even its norms move."""
    return groups[-1:] if phase.precompute else groups


def what_trains(phase: "Phase", groups: "Sequence[GroupSummary]") -> str:
    """The layer groups that train in a phase, in words."""
    if phase.precompute:
        return f"head, on features of {phase.views} views" if phase.views else "head, on precomputed features"
    first = len(groups) - (phase.trains or len(groups))
    trained = groups[first:]
    names = "all groups" if first == 0 else ", ".join(group.name for group in trained)
    norms = ", norms of the others" if any(group.trainable for group in groups[:first]) else ""
    still = ", but norms of the body" if any(group.trainable < group.parameters for group in trained) else ""
    return names + norms + still


def megabytes(size: int) -> str:
    """Bytes as megabytes, 10^6 bytes."""
    return f"{size / 1e6:.1f} MB"
