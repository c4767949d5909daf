"""With what a run is made: versions, system and processor."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

PACKAGES = ("expkit", "torch", "torchvision", "timm", "numpy", "pillow")


def environment(device: torch.device) -> dict[str, str]:
    """Names and values, as a person reads them."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an extra, or a checkout that is not installed
            continue
    found |= {"system": platform.platform(), "processor": f"{platform.machine()}, {os.cpu_count()} cores"}
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found
