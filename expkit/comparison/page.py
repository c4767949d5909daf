"""comparison.html: a comparison as one page that opens offline, with the images that runs disagree on."""

from pathlib import Path
from typing import Any

from PIL import Image

from expkit import page
from expkit.command import shown
from expkit.comparison.images import Shared
from expkit.comparison.standings import Comparison
from expkit.comparison.tables import classes_table, runs_table, setups_table
from expkit.data.items import Images
from expkit.errors import UserError
from expkit.threads import aside

SIDE = 160
"""Pixels of the longer side of a thumbnail."""
CLASSES = 200
"""Rows of the table of classes: those that differ most."""


def write_page(
    path: Path,
    found: Comparison,
    answers: list[str],
    picture: Path,
    *,
    examples: int,
    images: Images | None,
    lacking: str,
) -> None:
    """Write the page, with so many `examples`.

    `images` are those that the first run was validated on; without them, `lacking` says why there are no pictures.
    """
    shared = found.shared
    cards = aside(cards_of, shared, examples, images) if shared else []
    classes = classes_table(shared).head(CLASSES) if shared else None
    page.write_page(
        path,
        "expkit.comparison",
        found=found,
        answers=answers,
        chart=page.of_file(picture),
        runs=runs_table(found).to_dict("split"),
        setups=setups_table(found).to_dict("records"),
        classes=classes.to_dict("split") if classes is not None else None,
        left=max(0, len(shared.recalls) - CLASSES) if shared else 0,
        cards=cards,
        disagreed=len(shared.changed) if shared else 0,
        lacking=lacking if cards else "",
        folders=[(name, str(shown(run.folder.path))) for name, _, run in found.runs],
    )


def cards_of(shared: Shared, count: int, images: Images | None) -> list[dict[str, Any]]:
    """The images that divide the setups most: what each run took one for, and a picture where it can be read."""
    return [
        {
            "file": shared.files[image],
            "label": shared.classes[shared.labels[image]],
            "said": shared.said(image),
            "picture": small(images, int(shared.rows[image])),
        }
        for image in shared.changed[:count].tolist()
    ]


def small(images: Images | None, row: int) -> Image.Image | None:
    """A thumbnail of an image; None where it is gone."""
    if images is None:
        return None
    try:
        picture = images.read(row, SIDE // 2)
    except UserError:
        return None
    picture.thumbnail((SIDE, SIDE))
    return picture
