"""The commands that come next after a training, ready to paste."""

from pathlib import Path

from expkit.command import command, override, shown


def next_commands(run: str, name: str) -> dict[str, str]:
    """What is done with a model next, by name; `run` is what names it, `name` what it was trained on."""
    return {
        "predict": command(f"run={run}", "task=predict", "task.source=PHOTOS"),
        "score": command(f"run={run}", "task=evaluate"),
        "export": command(f"run={run}", "task=export", override("task.out", f"{name}_export")),
    }


def next_steps(run: str, name: str) -> list[str]:
    """Likewise, as lines to print."""
    return [f"  {what:<7}  {line}" for what, line in next_commands(run, name).items()]


def next_comparison(sweep: Path) -> str:
    """How the best runs of a study or a grid are set side by side, as a line of such commands."""
    return f"  differ   {command('task=compare', override('task.runs', str(shown(sweep))))}"
