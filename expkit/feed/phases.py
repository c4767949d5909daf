"""What each phase of a run reads: batches of images, or of features that the frozen body computed once."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from expkit.augment import Transforms
from expkit.config.schema import Config
from expkit.data.items import Data, Images
from expkit.feed.loading import ImageLoader, Loader, TensorLoader, batches_of, make_loader
from expkit.randomness import seed_of
from expkit.transfer import Phase

Key = tuple[object, ...]
"""What tells apart the images of one part of the data in a phase."""


@dataclass(frozen=True)
class Asked:
    """Of which images precomputed features are asked, and in which batches."""

    images: Images
    transforms: Transforms
    views: Sequence[int | None]
    """Those of each image that are read by turns; None: as in validation."""
    batch_size: int
    seed: int
    train: bool


OpenFeatures = Callable[[Asked], Loader]
"""Gives batches of precomputed features; what is missing of them is computed now."""


class Feed:
    """Opens the batches of each phase when it begins; phases with the same images share them."""

    def __init__(
        self,
        config: Config,
        data: Data,
        transforms: Mapping[str, Transforms],
        views: Transforms,
        tta: int,
        open_features: OpenFeatures | None,
    ) -> None:
        """Take what loaders are made of.

        `transforms` holds those of each phase by name, `views` those of the `tta` views of the last evaluation.
        `open_features` is there where a phase reads precomputed features.
        """
        self.config = config
        self.data = data
        self.transforms = transforms
        self.view_transforms = views
        self.tta = tta
        self.open_features = open_features
        self.epoch_steps = batches_of(len(data.train), config.batch_size, train=True)
        self.opened: dict[Key, Loader] = {}

    def batches(self, phase: Phase) -> tuple[Loader, Loader]:
        """Training and validation batches of a phase. Raises UserError where an image cannot be read.

        Ends the workers of earlier phases that this one has no use for.
        """
        used = [self.key(phase, train) for train in (True, False)]
        for key in self.opened.keys() - used:
            if isinstance(loader := self.opened[key], ImageLoader):
                loader.close()
                del self.opened[key]
        return self.open(phase, train=True), self.open(phase, train=False)

    def key(self, phase: Phase, train: bool) -> Key:
        """What tells apart the images of one part of the data in a phase."""
        return train, phase.precompute, train and phase.views, train and json.dumps(phase.augment, sort_keys=True)

    def open(self, phase: Phase, *, train: bool) -> Loader:
        """The loader of one part of the data, made once for phases that read the same."""
        key = self.key(phase, train)
        if key not in self.opened:
            transforms, seed = self.transforms[phase.name], self.config.seed
            if phase.precompute:
                views: Sequence[int | None] = range(phase.views) if train and phase.views else [None]
                self.opened[key] = self.features(train, transforms, views, seed)
            else:
                self.opened[key] = self.images(train, transforms, seed)
        return self.opened[key]

    def images(
        self, train: bool, transforms: Transforms, seed: int, view: int | None = None
    ) -> TensorLoader | ImageLoader:
        """Batches of decoded images; with a `view`, in order but as training would see them in that epoch."""
        return make_loader(
            self.data.train if train else self.data.valid,
            transforms,
            batch_size=self.config.batch_size,
            seed=seed,
            train=train,
            num_workers=self.config.num_workers,
            pin_memory=torch.cuda.is_available(),
            view=view,
        )

    def features(self, train: bool, transforms: Transforms, views: Sequence[int | None], seed: int) -> Loader:
        """Batches of precomputed features of these views of each image, None: as in validation."""
        assert self.open_features is not None
        images = self.data.train if train else self.data.valid
        return self.open_features(Asked(images, transforms, views, self.config.batch_size, seed, train))

    def augmented(self, phase: Phase) -> Iterator[Loader]:
        """Validation batches of each augmented view that the last evaluation averages over, drawn from (seed, view).

        They are of what `phase` reads: images, or features.
        """
        seed = seed_of(self.config.seed, "tta")
        for view in range(self.tta):
            transforms = self.view_transforms
            loader = (
                self.features(False, transforms, [view], seed)
                if phase.precompute
                else self.images(False, transforms, seed, view)
            )
            yield loader
            loader.close()

    @property
    def workers(self) -> int:
        """How many processes decode for the loader that has most."""
        return max((loader.workers for loader in self.opened.values() if isinstance(loader, ImageLoader)), default=0)

    def close(self) -> None:
        """End whatever reads ahead."""
        for loader in self.opened.values():
            loader.close()
