"""What each phase of a run reads: batches of images, or of features that the frozen body computed once."""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from expkit.augment import Transforms
from expkit.config.schema import Config, Node
from expkit.data.items import Data
from expkit.feed.loading import ImageLoader, TensorLoader, batches_of, make_loader
from expkit.randomness import seed_of
from expkit.run import read, seeded
from expkit.transfer import Phase

if TYPE_CHECKING:
    from expkit.features import BodyInfo, FeatureCache, FeatureLoader, Frozen
    from expkit.trainer.loop import Loader


class Kept:
    """What the runs of one process share: data sets, opened features, and the model that each begins with."""

    def __init__(self) -> None:
        self.built: dict[str, Data] = {}
        self.begun: tuple[str, Any] | None = None
        """What the last model was built from, and the model, untrained."""

    @cached_property
    def features(self) -> "FeatureCache":
        """The cache of features."""
        from expkit.features import FeatureCache

        return FeatureCache()

    def data(self, node: Node) -> Data:
        """The data that a node describes, read and checked by the first run that asks."""
        key = text_of(node)
        if key not in self.built:
            self.built[key] = read(node)
        return self.built[key]

    def model(self, config: Config, *wired: object) -> Any:
        """The model that a run begins with: a copy of the one before, where that began alike.

        To draw or read its weights takes longer than the training of a small trial.
        """
        from expkit.features.identity import weights_identity

        key = text_of(config.model, config.seed, weights_identity(config.model.get("weights"), config.seed), *wired)
        if self.begun is None or self.begun[0] != key:
            self.begun = key, seeded(config, *wired)
        return copy.deepcopy(self.begun[1])


def text_of(*parts: object) -> str:
    """Plain values as text."""
    return json.dumps(parts, sort_keys=True, default=repr)


class Feed:
    """Opens the batches of each phase when it begins; phases with the same images share them."""

    def __init__(
        self,
        config: Config,
        data: Data,
        kept: Kept,
        frozen: "Frozen | None",
        transforms: Mapping[str, Transforms],
        views: Transforms,
        tta: int,
        body: "BodyInfo | None",
    ) -> None:
        """Take what loaders are made of.

        `transforms` holds those of each phase by name, `views` those of the `tta` views of the last evaluation;
        `body` stands for the model's where all phases read precomputed features, and it is never run.
        """
        self.config = config
        self.data = data
        self.kept = kept
        self.frozen = frozen
        self.transforms = transforms
        self.view_transforms = views
        self.tta = tta
        self.body = body
        self.epoch_steps = batches_of(len(data.train), config.batch_size, train=True)
        self.opened: dict[str, Loader] = {}

    @property
    def precision(self) -> str | None:
        """The precision of the features where all phases read precomputed ones; None where a body runs."""
        return self.body.precision if self.body else None

    @property
    def body_weights(self) -> Path | None:
        """The weights of the frozen body that all phases leave alone; None where a body runs."""
        return self.body.weights if self.body else None

    def batches(self, phase: Phase) -> "tuple[Loader, Loader]":
        """Training and validation batches of a phase. Raises UserError where an image cannot be read.

        Ends the workers of earlier phases that this one has no use for.
        """
        used = [self.key(phase, train) for train in (True, False)]
        for key in self.opened.keys() - used:
            if isinstance(loader := self.opened[key], ImageLoader):
                loader.close()
                del self.opened[key]
        return self.open(phase, train=True), self.open(phase, train=False)

    def key(self, phase: Phase, train: bool) -> str:
        """What tells apart the images of one part of the data in a phase, as text."""
        return text_of(train, phase.precompute, train and phase.views, train and phase.augment)

    def open(self, phase: Phase, *, train: bool) -> "Loader":
        """The loader of one part of the data, made once for phases that read the same."""
        key = self.key(phase, train)
        if key not in self.opened:
            transforms, seed = self.transforms[phase.name], self.config.seed
            if phase.precompute:
                views = range(phase.views) if train and phase.views else [None]
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

    def features(self, train: bool, transforms: Transforms, views: Iterable[int | None], seed: int) -> "FeatureLoader":
        """Batches of precomputed features of these views of each image, None: as in validation.

        What the cache lacks is computed now.
        """
        from expkit.features import FeatureLoader

        images = self.data.train if train else self.data.valid
        options: dict[str, Any] = {"num_workers": self.config.num_workers, "part": "train" if train else "valid"}
        assert self.frozen is not None
        rows = self.kept.features.views(self.frozen, images, transforms, list(views), seed=seed, **options)
        labels = torch.from_numpy(images.labels)
        return FeatureLoader(rows, labels, batch_size=self.config.batch_size, seed=seed, train=train)

    def augmented(self) -> "Iterator[Loader]":
        """Validation batches of each augmented view that the last evaluation averages over, drawn from (seed, view)."""
        seed = seed_of(self.config.seed, "tta")
        for view in range(self.tta):
            transforms = self.view_transforms
            loader = (
                self.features(False, transforms, [view], seed)
                if self.body
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
