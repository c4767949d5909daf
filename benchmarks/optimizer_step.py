"""Time of an optimizer step of resnet34 and of setting its hyperparameters from schedules.

    python benchmarks/optimizer_step.py [--repeats 15] [--threads N]

Every optimizer steps its own copy of the parameters: three layer groups, biases and norms spared from weight decay,
float32, random gradients. All take turns, so that a busy moment of the machine hits all of them; medians are printed,
and how fast each is relative to stock multi-tensor AdamW. fastai's row needs fastai in the same environment.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from expkit import optim
from expkit.model import resnet34
from expkit.optim.optimizer import Optimizer
from expkit.sched import linear, one_cycle

Step = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads, median of {args.repeats}, step of resnet34 in ms")
    steps = contestants()
    times = interleaved(steps, args.repeats)
    stock = statistics.median(times["torch AdamW foreach"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:22} {1e3 * median:8.2f}   {stock / median:5.2f} x stock AdamW foreach")
    print(f"set 3 hyperparameters of 3 groups from schedules: {1e6 * setting_time():.1f} microseconds")


def contestants() -> dict[str, Step]:
    """A step function for each optimizer, each with a model of its own."""
    steps: dict[str, Step] = {"torch AdamW foreach": stock_adamw()}
    for name in ("adam", "sgd", "nadam", "radam", "rmsprop", "lamb", "adagrad", "adadelta"):
        steps[f"expkit {name}"] = getattr(optim, name)(model_with_gradients()).step
    try:
        steps["fastai Adam"] = fastai_adam()
    except ImportError as error:
        print(f"fastai Adam is left out: {error}")
    return steps


def model_with_gradients() -> Any:
    """resnet34 for 37 classes with the same random gradients each time."""
    torch.manual_seed(0)
    model = resnet34(37)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter) / 100
    return model


def stock_adamw() -> Step:
    """torch's AdamW over the same parameter groups as ours."""
    ours = optim.adam(model_with_gradients())
    groups = [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in ours.torch.param_groups]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), eps=1e-5, foreach=True).step


def fastai_adam() -> Step:
    """fastai's Adam over the same layer groups, the same parameters spared from weight decay."""
    from fastai.optimizer import Adam

    ours = optim.adam(model_with_gradients())
    optimizer = Adam([list(group.parameters.values()) for group in ours.split], lr=1e-3)
    for group in ours.split:
        for parameter in group.spared.values():
            optimizer.state[parameter]["do_wd"] = False
    return optimizer.step


def interleaved(steps: dict[str, Step], repeats: int) -> dict[str, list[float]]:
    """Seconds of each step, all taking turns, after two rounds to warm up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= 2:
                times[name].append(time.perf_counter() - start)
    return times


def setting_time(rounds: int = 7, steps: int = 2000) -> float:
    """Seconds a step to evaluate and set lr (one schedule per group), mom and wd; median of `rounds`."""
    optimizer: Optimizer = optim.adam(model_with_gradients())
    follow = optimizer.follow({**one_cycle([1e-4, 1e-3, 1e-2]), "wd": [linear(0.01, 0.1 * i) for i in (1, 2, 3)]})
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        for step in range(steps):
            follow(step / steps)
        seconds.append((time.perf_counter() - start) / steps)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
