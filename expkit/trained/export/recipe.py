"""How a file becomes the model's input, as plain values and in words that hold without expkit."""

from typing import Any

from expkit.trained.classifier import Trained

FRAMES = {
    "crop": "Cut out the square in the middle whose side is the shorter one of the picture (its left or upper edge at "
    "half of what is left over, rounded to whole pixels, halves to the even one), and resize it to {size} x {size}.",
    "squish": "Resize the whole picture to {size} x {size}, whatever its aspect ratio.",
    "pad": "Resize the whole picture so that its longer side has {size} pixels, put it in the middle of {size} x "
    "{size}, and fill the rest with the picture mirrored at its edges.",
}
"""What `augment.resize` does to a picture in validation."""
BEHIND = {"white": "laid on white", "black": "laid on black", "ignore": "taken as its colours are, without its alpha"}
"""What `data.alpha` does."""


def recipe_of(trained: Trained) -> dict[str, Any]:
    """The content of preprocessing.json. `resize` is null where the run's transform is code of the user's own."""
    node = trained.description["augment"]
    target = str(node["_target_"])
    resize = node.get("resize", "crop") if target.startswith("expkit.augment.") else None
    model, reading = trained.model, trained.reading
    mean, std = (
        [float(f"{value:.7g}") for value in getattr(model, name).flatten().tolist()] if hasattr(model, name) else None
        for name in ("mean", "std")
    )
    return {
        "size": trained.image_size,
        "resize": resize,
        "alpha": reading.alpha,
        "white": reading.white,
        "input": "uint8, N x 3 x height x width, RGB, 0 to 255; the model itself takes off mean and divides by std",
        "mean": mean,
        "std": std,
        "temperature": trained.temperature,
        "steps": steps(resize, target, trained),
    }


def steps(resize: str | None, target: str, trained: Trained) -> list[str]:
    """The recipe in sentences, first to last."""
    size, reading = trained.image_size, trained.reading
    told = [
        f"Open the file. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where no side falls below {size} pixels by "
        f"that: Pillow's image.draft(None, ({size}, {size})).",
        "Turn it upright by its EXIF orientation.",
        f"Make it RGB of 8 bits; what is transparent is {BEHIND[reading.alpha]}.",
    ]
    if reading.white is not None:
        told.append(f"White is the value {reading.white:g}: values from 0 to it become 0 to 255, rounded.")
    if reading.arrays is not None:
        told.append(
            f"The run was trained on arrays, in which white is {reading.arrays:g}: of such, values from 0 to it become "
            "0 to 255, rounded."
        )
    if resize is None:
        told.append(f"The run's own function {target} makes the model's input of it; its code is not in this folder.")
    else:
        told.append(FRAMES[resize].format(size=size) + " Bilinear, antialiased, as Pillow's Resampling.BILINEAR.")
    told.append("Give it as uint8, 3 x height x width. The model normalizes by itself.")
    return told
