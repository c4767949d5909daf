"""The picture of what a model is trained on: images as augmentation leaves them, before they are normalized."""

from pathlib import Path

from PIL import Image

from expkit.config.plan import overridden
from expkit.config.schema import Config
from expkit.data.items import Data
from expkit.feed.loading import Transformed, order
from expkit.report.mosaic import Row, Tile, draw_mosaic
from expkit.threads import aside
from expkit.transfer import Phase, Recipe
from expkit.wiring import transforms_of

SHOWN = 16
"""Images of the batch that are drawn."""


def draw_batch(path: Path, config: Config, data: Data, phase: Phase) -> None:
    """Draw the first images that training sees in a phase, with their labels.

    Raises UserError where one cannot be read.
    """
    transforms = transforms_of(config, phase)
    seen = Transformed(data.train, transforms, config.seed, train=True)
    first = order(len(data.train), config.seed, 0)[: min(SHOWN, config.batch_size)].tolist()
    pixels = aside(lambda: [seen.item((0, index)).numpy() for index in first])
    labels = [data.classes[data.train.labels[index]] for index in first]
    tiles = [Tile(Image.fromarray(one), [label]) for one, label in zip(pixels, labels, strict=True)]
    target = str(overridden(config.augment, phase.augment or None)["_target_"])
    how = f"after augment={target.rpartition('.')[2]}" if transforms.random else "nothing random is done to them"
    size = transforms.size
    title = f"What the model sees in the phase {phase.name}: {size} x {size} pixels, {how}"
    draw_mosaic(path, title, [Row("", tiles)], columns=4)


def shown_phase(config: Config, recipe: Recipe) -> Phase:
    """The phase whose images say most: the last that augments them, else the last."""
    phases = [phase for phase in recipe.phases if transforms_of(config, phase).random]
    return (phases or recipe.phases)[-1]
