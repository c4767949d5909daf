"""Runs set side by side, from Python."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.api.overriding import overrides_of
from expkit.api.running import Result, run

if TYPE_CHECKING:
    from expkit.api.comparison import Comparison
    from expkit.api.study import Study


def compare(*runs: "str | Path | Result | Study", quiet: bool = False, **keys: Any) -> "Comparison":
    """Set runs side by side as `task=compare` does: what differs, and whether it is more than chance.

    `runs` are two or more, each what `expkit.run` gave or a name of a run, the first of which the others are set
    beside; or one study, grid or folder of runs. `keys` are those of the task: `top=20`, `examples=0`.

    Raises UserError where there is no such run, fewer than two, one of them twice, or they have different classes.
    """
    names = [str(one if isinstance(one, str | Path) else one.folder) for one in runs]
    named = {"runs": names[0] if len(names) == 1 else names}
    found: Comparison = run("task=compare", *overrides_of("task", named | keys), quiet=quiet).value
    return found
