"""Whether an export gives what the run's own model gives."""

from dataclasses import dataclass

import torch
from torch import Tensor

from expkit.errors import UserError
from expkit.trained.classifier import Trained
from expkit.trained.export.formats import Computed, Runner

EXACT = 1e-3
"""Most by which logits may differ from the same weights in float32, as a share of the largest (of 1 at least)."""
MARGIN = {"fp32": 1e-3, "bf16": 0.2}
"""By precision of validation: a class may change only where its probability was ahead by less."""
BATCH = 16


@dataclass(frozen=True)
class Sample:
    """Images that an export is checked on."""

    images: Tensor
    """uint8, N x 3 x H x W."""
    what: str
    """What they are, in words."""


@dataclass(frozen=True)
class Comparison:
    """How far an export is from the run's own model."""

    images: int
    what: str
    precision: str
    """That of the run's validation; an export computes in float32."""
    logits: float
    """The largest difference from the same weights in float32."""
    probabilities: float
    """The largest difference from what the run's own model gives."""
    changed: int
    """Images of another class than the run's own model gives."""
    ahead: float
    """The most by which the probability of a class was ahead that changed; 0 where none did."""

    @property
    def told(self) -> str:
        """The comparison in a sentence."""
        classes = "no class changes"
        if self.changed:
            word = "class changes" if self.changed == 1 else "classes change"
            classes = f"{self.changed} {word}, ahead by at most {self.ahead:.2g} in probability"
        return (
            f"on {self.images} {self.what}: logits differ by at most {self.logits:.1e} from the same weights in "
            f"float32, probabilities by {self.probabilities:.1e} from the run's own in {self.precision}; {classes}"
        )


@torch.inference_mode()
def compare(trained: Trained, run: Runner, sample: Sample) -> Comparison:
    """Compare an export with the run's own model on images, in batches of one and of several.

    Raises UserError where they differ by more than EXACT and MARGIN allow.
    """
    whole = Computed(trained.model, trained.temperature)
    images = sample.images
    # The first by itself: what holds for any number of images holds for one.
    pieces = [images[:1], *torch.split(images[1:], BATCH)] if len(images) > 1 else [images]
    wanted = torch.cat([whole(piece.to(trained.device))[0].cpu() for piece in pieces])
    own = torch.cat([trained.probabilities(piece) for piece in pieces])
    outcomes = [run(piece) for piece in pieces]
    logits, probabilities = (torch.cat([outcome[part] for outcome in outcomes]) for part in (0, 1))
    top = own.topk(2, dim=1)
    changed = probabilities.argmax(dim=1) != top.indices[:, 0]
    ahead = (top.values[:, 0] - top.values[:, 1])[changed]
    found = Comparison(
        images=len(images),
        what=sample.what,
        precision="bf16" if trained.half else "fp32",
        logits=float((logits - wanted).abs().max()),
        probabilities=float((probabilities - own).abs().max()),
        changed=int(changed.sum()),
        ahead=float(ahead.max()) if len(ahead) else 0.0,
    )
    # Written so that what is no number is no match either.
    exact = found.logits <= EXACT * max(1.0, float(wanted.abs().max()))
    if not (exact and found.ahead <= MARGIN[found.precision] and bool(probabilities.isfinite().all())):
        raise UserError(f"the export does not give what the run's own model gives ({found.told}), so it is not kept")
    return found
