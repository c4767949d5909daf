"""What a model looks at: the places of an image that speak for its prediction (Grad-CAM, by the package grad-cam)."""

from typing import Any

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from expkit.data.items import Images
from expkit.errors import UserError
from expkit.record.glyphs import shortened
from expkit.record.predictions import read_predictions
from expkit.report.mosaic import LETTERS, RIGHT, WRONG, Row, Tile, draw_mosaic
from expkit.run_folder import RunFolder
from expkit.threads import aside
from expkit.trained.classifier import Trained

STRENGTH = 0.6
"""How much of the picture the brightest place hides."""


def draw_grad_cam(folder: RunFolder, trained: Trained, valid: Images, count: int) -> None:
    """plots/grad_cam.png: the `count` validation images of the largest losses, with what speaks for their prediction.

    Raises UserError where the package is not there, the model has no map of the image, or an image cannot be read.
    """
    found = read_predictions(folder.predictions, trained.classes)
    worst = np.argsort(-found.losses, kind="stable")[:count].tolist()
    fitted, side = trained.transforms.valid, trained.transforms.valid_side
    pixels = aside(lambda: [fitted(valid.read(index, side)) for index in worst])
    maps = maps_of(trained, torch.stack(pixels).permute(0, 3, 1, 2), [int(found.guesses[index]) for index in worst])
    tiles = []
    for index, seen, strength in zip(worst, pixels, maps, strict=True):
        label, guess = found.classes[found.labels[index]], found.classes[found.guesses[index]]
        verdict = f"why {shortened(guess, 24)}? {found.confidences[index]:.0%}"
        colour = RIGHT if label == guess else WRONG
        tiles.append(Tile(overlaid(seen.numpy(), strength), [shortened(label, LETTERS), verdict], colour))
    title = "What does the model look at? Bright places speak for its prediction (Grad-CAM)"
    draw_mosaic(folder.plots / "grad_cam.png", title, [Row("", tiles)], columns=4)


def maps_of(trained: Trained, images: Tensor, targets: list[int]) -> NDArray[np.float32]:
    """How much each place of images uint8 N x 3 x H x W speaks for a class each: N x H x W, from 0 to 1.

    Raises UserError where the package is not there, and for a model without a map of the image.
    """
    try:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    except ImportError as error:
        raise UserError(
            "it needs the package grad-cam: pip install 'expkit[explain]', or leave it out with task.grad_cam=0"
        ) from error
    layer, as_map = layer_of(trained.model, images[:1].to(trained.device))
    wanted = [ClassifierOutputTarget(target) for target in targets]
    # The weights are frozen, so that a gradient flows only where the images ask for one.
    pixels = images.float().to(trained.device).requires_grad_()
    with GradCAM(trained.model, [layer], reshape_transform=as_map) as cam:
        found: NDArray[np.float32] = cam(pixels, wanted)
    return found


def layer_of(model: Any, image: Tensor) -> tuple[Any, Any]:
    """The last layer that still knows places, and what makes its output N x D x H x W (None: it is).

    That is the body where it ends in a feature map, and in transformers the norm before the last attention: behind
    that, nothing is read but the class token. Raises UserError where there is neither.
    """
    body = getattr(model, "body", None)
    if body is not None:
        with torch.no_grad():
            features = body(model.normalize(image))
        if features.ndim == 4:
            return body, None
        norms = [module for name, module in body.named_modules() if name.endswith("norm1")]
        if norms:
            return norms[-1], lambda tokens: grid(tokens, getattr(body, "num_prefix_tokens", 0))
    raise UserError("the model has no layer that knows places of the image; leave it out with task.grad_cam=0")


def grid(tokens: Tensor, prefix: int) -> Tensor:
    """Tokens N x T x D, `prefix` of them of no place, or a map N x H x W x D, as N x D x H x W."""
    if tokens.ndim == 4:
        return tokens.permute(0, 3, 1, 2)
    places = tokens[:, prefix:]
    side = round(places.shape[1] ** 0.5)
    return places.transpose(1, 2).reshape(len(places), -1, side, places.shape[1] // side)


def overlaid(pixels: NDArray[np.uint8], strength: NDArray[np.float32]) -> Image.Image:
    """A picture H x W x 3 under the colours of a map from 0 to 1."""
    colours = np.asarray(matplotlib.colormaps["inferno"](strength))[..., :3] * 255
    share = STRENGTH * strength[..., None]
    return Image.fromarray((pixels * (1 - share) + colours * share).astype(np.uint8))
