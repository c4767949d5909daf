"""`task=show_batch`: what the model will see, before it is trained."""

from pathlib import Path

from expkit.check import checked, nearest
from expkit.command import shown
from expkit.config.plan import plan
from expkit.config.schema import Config
from expkit.errors import UserError
from expkit.logs import warning_on_screen
from expkit.run_folder import RunFolder
from expkit.screen import say


@checked
def show_batch(config: Config, folder: RunFolder, *, phase: str | None = None) -> Path:
    """Draw the first training images of the experiment with their labels, as augmentation leaves them.

    Leaves plots/batch.png in `folder`, and gives its path; trains nothing.

    Args:
        config: the experiment.
        folder: its folder.
        phase: name of a phase in transfer.phases; None: the last one that augments its images.

    Raises UserError for whatever the user can mend: files, values that do not fit each other.
    """
    from expkit.report.batch import draw_batch, shown_phase
    from expkit.wiring import read

    recipe = plan(config)
    named = {one.name: one for one in recipe.phases}
    if phase is not None and phase not in named:
        raise UserError(f"task.phase={phase}: the recipe has no such phase; {nearest(phase, list(named))}")
    with warning_on_screen():
        data = read(config.data)
    path = folder.plots / "batch.png"
    draw_batch(path, config, data, named[phase] if phase else shown_phase(config, recipe))
    say(str(shown(path)))
    return path
