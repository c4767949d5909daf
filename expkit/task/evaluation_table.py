"""What a person sees of an evaluation."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from expkit.command import command, shown
from expkit.errors import first_ten
from expkit.run_folder import RunFolder
from expkit.screen import console
from expkit.words import figure, many

WORST = 5
"""So many classes and confusions are shown; evaluation.json has them all."""


def show(content: Mapping[str, Any], folder: RunFolder, name: str) -> None:
    """Print the metrics of each part with their intervals, and where the model errs most."""
    where = console(report=True)
    where.print(metrics_table(content["parts"]))
    for which, scores in content["parts"].items():
        where.print("\n".join(errors_of(which, scores)), highlight=False, soft_wrap=True, markup=False)
    if content["temperature"] != 1:
        where.print(f"temperature {content['temperature']:.3f}, from the run's validation images", highlight=False)
    place = shown(folder.path / "evaluations" / name)
    lines = [f"  folder   {place}"]
    if (folder.path / "report.html").exists():
        lines.append(f"  report   shows it after  {command(f'run={shown(folder.path)}', 'task=report')}")
    where.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def metrics_table(parts: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each metric, with its 95% interval, side by side for the parts."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for which, scores in parts.items():
        table.add_column(f"{which} ({scores['images']})", justify="right")
        if scores["intervals"]:
            table.add_column("95% interval", justify="right")
    names = dict.fromkeys(name for scores in parts.values() for name in scores["metrics"])
    for name in names:
        cells = []
        for scores in parts.values():
            cells.append(figure(scores["metrics"][name]) if name in scores["metrics"] else "")
            if scores["intervals"]:
                low, high = scores["intervals"].get(name, (None, None))
                cells.append("" if low is None else f"{low:.4f} - {high:.4f}")
        table.add_row(name, *cells)
    return table


def errors_of(which: str, scores: Mapping[str, Any]) -> list[str]:
    """Lines on the classes of one part: without images, told worst, confused most."""
    lines = []
    if scores["without_images"]:
        count = len(scores["without_images"])
        lines.append(f"{which} has no image of {many(count, 'class, which counts', 'classes, which count')} nowhere:")
        lines.append(first_ten(scores["without_images"]))
    seen = [one for one in scores["by_class"] if one["images"]]
    worst = sorted(seen, key=lambda one: float(one["f1"]))[:WORST]
    if worst[0]["f1"] < 1:
        lines.append(f"{which}, lowest f1:")
        lines += [
            f"  {one['f1']:.4f}  {one['class']}  (precision {one['precision']:.4f}, recall {one['recall']:.4f}, "
            f"{many(one['images'], 'image', 'images')})"
            for one in worst
            if one["f1"] < 1
        ]
    if scores["confused"]:
        lines.append(f"{which}, most confused:")
        lines += [
            f"  {one['label']} taken for {one['prediction']}: {one['images']} of {one['images'] / one['share']:.0f}"
            for one in scores["confused"][:WORST]
        ]
    return lines
