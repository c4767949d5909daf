"""In which precision a processor with bfloat16 computes a model faster: measured once, and remembered from then on.

Depthwise convolutions, for one, are often slower in bfloat16, so no rule by the kind of processor is right. What noise
decided anew in each run would give the same config other weights: the verdict is kept in the cache folder, and all
runs, trials and workers of a machine take it.
"""

import logging
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from json import dumps
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock
from torch import nn
from torch.nn import functional as F

from expkit.data.images.file_memory import cache_folder
from expkit.errors import Unavailable, UserError
from expkit.screen import say
from expkit.whole_files import read_json, write_json

log = logging.getLogger("expkit")

GAIN = 1.1
"""How many times as fast bfloat16 must be: what is about the same is computed in float32."""
ROUNDS = 5
SECONDS = 6.0
"""When no other round begins."""
Rates = Mapping[str, float]
"""Images a second in fp32 and in bf16; empty where bf16 is out of the question."""


def faster(identity: Mapping[str, Any], measure: Callable[[], Rates]) -> Literal["bf16", "fp32"]:
    """The precision for what `identity` describes in plain JSON values: as remembered, else as `measure` finds now.

    One process measures while others wait. Where the verdict cannot be kept, nothing is measured, and it is fp32.
    """
    whole = {**identity, "torch": torch.__version__, "processor": processor()}
    key = blake2b(dumps(whole, sort_keys=True).encode(), digest_size=16).hexdigest()
    place = cache_folder() / "precision" / f"{key}.json"
    try:
        if (kept := remembered(place)) is None:
            place.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(place.with_suffix(".lock")):
                if (kept := remembered(place)) is None:
                    rates = measure()
                    kept = verdict(rates)
                    write_json(place, {**whole, "precision": kept, "images_per_second": dict(rates)}, "EXPKIT_CACHE")
                    tell(kept, rates, place)
    except (OSError, Unavailable) as error:
        log.warning(
            "trainer.precision=auto is fp32 here: which is faster could not be kept (%s), and must not differ from run "
            "to run; move the cache with EXPKIT_CACHE, or give trainer.precision=bf16 or fp32",
            error,
        )
        return "fp32"
    return kept


def remembered(place: Path) -> Literal["bf16", "fp32"] | None:
    """What was found before; None where nothing was, or it is damaged."""
    try:
        kept = read_json(place).get("precision")
    except UserError:
        return None
    return kept if kept in ("bf16", "fp32") else None


def verdict(rates: Rates) -> Literal["bf16", "fp32"]:
    """The precision to take at these rates."""
    return "bf16" if rates and rates["bf16"] >= GAIN * rates["fp32"] else "fp32"


def tell(kept: str, rates: Rates, place: Path) -> None:
    """Say what was measured."""
    if rates:
        line = (
            f"precision=auto is {kept}: this processor computes {rates['fp32']:.3g} images/s in fp32, "
            f"{rates['bf16']:.3g} in bf16"
        )
        say(line)
        log.info("%s; remembered in %s", line, place)


def rates_of(model: nn.Module, image_size: int, batch: int, *, trains: bool) -> Rates:
    """How many images a second a model on the CPU computes in either precision, by its fastest step of a few in turns.

    Args:
        model: logits of images; its gradients are dropped, and the statistics of its norms move.
        image_size: pixels on a side.
        batch: images in a step.
        trains: whether a step goes forward and back, or only forward in eval mode, as for frozen features.
    """
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (max(batch, 2), 3, image_size, image_size), dtype=torch.uint8, generator=draw)
    images = images.contiguous(memory_format=torch.channels_last)
    best = {"fp32": 0.0, "bf16": 0.0}
    model.train(trains)
    began = time.perf_counter()
    for turn in range(1 + ROUNDS):
        for name in best:
            seconds = step(model, images, half=name == "bf16", trains=trains)
            if turn:  # the first makes kernels ready
                best[name] = max(best[name], len(images) / seconds)
        if turn and time.perf_counter() - began > SECONDS:
            break
    return best


def step(model: nn.Module, images: torch.Tensor, *, half: bool, trains: bool) -> float:
    """The seconds that one step takes."""
    began = time.perf_counter()
    with torch.set_grad_enabled(trains):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = model(images)
        if trains:
            loss = F.cross_entropy(logits.float(), torch.zeros(len(images), dtype=torch.int64))
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            model.zero_grad()
    return time.perf_counter() - began


def processor() -> str:
    """The processor's name, as far as the system tells it, and what torch uses of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not on Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part"))]
    return ", ".join([*names[:1], torch.backends.cpu.get_cpu_capability()])
