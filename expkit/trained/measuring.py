"""A trained model run over labelled images as its validation ran: plain, or averaged over augmented views."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expkit.data.items import Images
from expkit.errors import UserError
from expkit.features.contents import FixedContents
from expkit.features.extraction import Source, extract
from expkit.features.loader import MEASURED
from expkit.features.progress import counting
from expkit.feed.loading import Batch, ImageLoader, make_loader
from expkit.feed.sending import explaining
from expkit.randomness import seed_of
from expkit.trained.classifier import Trained
from expkit.trainer.evaluate import PLAIN, Evaluation, averaged, measure


@dataclass(frozen=True)
class Measuring:
    """How a model is run over images."""

    trained: Trained
    batch_size: int
    num_workers: int | Literal["auto"]
    seed: int
    tta: int = 0
    """Augmented views of each image, 0: the image as it is alone."""
    beta: float = PLAIN
    """Share of the image as it is."""
    use_max: bool = False
    """Whether each class has its largest probability in any view, in place of the mean."""

    def run(self, images: Images, what: str) -> "Measured":
        """Run the model over images; `what` they are, the progress says. Raises UserError where one cannot be read."""
        kept: list[Tensor] = []

        def keeping() -> Iterator[tuple[Tensor, Tensor]]:
            for logits, labels in self.answers(images, what):
                kept.append(logits.cpu())
                yield logits, labels

        found = measure(keeping(), len(self.trained.classes))
        return Measured(found, torch.cat(kept))

    @torch.inference_mode()
    def answers(self, images: Images, what: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Calibrated logits and labels, batch by batch; over views, logarithms of probabilities at once."""
        with counting(f"evaluating {what}", len(images) * (1 + self.tta)) as counter:

            def logits_of(batch: Batch) -> Tensor:
                counter.add(len(batch.labels))
                return self.trained.logits(batch.images) / self.trained.temperature

            plain = self.batches(images, None)
            if self.tta:
                views = (self.batches(images, view) for view in range(self.tta))
                yield averaged(logits_of, plain, views, beta=self.beta, use_max=self.use_max)
            else:
                for batch in plain:
                    yield logits_of(batch), batch.labels

    def batches(self, images: Images, view: int | None) -> Iterable[Batch]:
        """Batches of an augmented view, None: of the images as they are; of features where validation read those."""
        transforms = self.trained.transforms
        seed = self.seed if view is None else seed_of(self.seed, "tta")
        if self.trained.features:
            source = Source(images, transforms, view, seed, FixedContents(""))
            rows = torch.cat(list(extract(self.trained.body, source, self.num_workers))).float()
            size = max(self.batch_size, MEASURED)
            yield from map(Batch, torch.split(rows, size), torch.split(torch.from_numpy(images.labels), size))
            return
        loader = make_loader(
            images,
            transforms,
            batch_size=self.batch_size,
            seed=seed,
            train=False,
            num_workers=self.num_workers,
            pin_memory=self.trained.device.type == "cuda",
            view=view,
        )
        workers = loader.workers if isinstance(loader, ImageLoader) else 0
        with closing(loader), explaining(workers):
            yield from loader


@dataclass(frozen=True)
class Measured:
    """What a model makes of N images of C classes."""

    evaluation: Evaluation
    logits: Tensor
    """N x C, or logarithms of probabilities, on the CPU."""

    def probabilities(self) -> NDArray[np.float32]:
        """N x C. Raises UserError where some are no numbers."""
        found: NDArray[np.float32] = self.logits.softmax(dim=1).numpy()
        if bad := int((~np.isfinite(found).all(axis=1)).sum()):
            raise UserError(
                f"the model gives no number as probability for {bad} of {len(found)} images: its training came to "
                "nothing; train again with a smaller optim.lr"
            )
        return found
