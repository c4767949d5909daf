"""Update rules that stock torch has not, or not with these numbers, as multi-tensor torch optimizers.

Each keeps the same state: `step` (updates of this parameter so far), `grad_avg` and `sqr_avg` (running averages of
gradients and squared gradients), and reads `lr, mom, sqr_mom, eps, wd, decouple_wd` from its parameter groups.
"""

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

CHUNK = 1 << 18
"""Numbers updated together on the CPU: with their averages they stay in its cache from one operation to the next."""


class Rule(torch.optim.Optimizer, ABC):
    """A torch optimizer whose subclasses say in `update` how parameters that were stepped equally often move."""

    def __init__(self, params: Any, *, decouple_wd: bool) -> None:
        defaults = {"lr": 1e-3, "mom": 0.9, "sqr_mom": 0.99, "eps": 1e-5, "wd": 0.0, "decouple_wd": decouple_wd}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for step, params in self.by_step(group["params"]).items():
                for chunk in chunks(params):
                    self.update(chunk, step, group)

    def by_step(self, params: list[Tensor]) -> dict[int, list[Tensor]]:
        """Parameters with a gradient by how often they will have been updated; thawed layers lag behind the others."""
        found: dict[int, list[Tensor]] = defaultdict(list)
        for param in params:
            if param.grad is not None:
                state = self.state[param]
                state["step"] = state.get("step", 0) + 1
                found[state["step"]].append(param)
        return found

    @abstractmethod
    def update(self, params: list[Tensor], step: int, group: dict[str, Any]) -> None:
        """Move `params` by their `step`-th update with the hyperparameters of `group`."""

    def decayed_grads(self, params: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """The gradients, after weight decay has shrunk `params` (decoupled) or joined the gradients (L2)."""
        grads = [param.grad for param in params if param.grad is not None]
        if group["wd"] == 0:
            return grads
        if group["decouple_wd"]:
            torch._foreach_mul_(params, 1 - group["lr"] * group["wd"])
            return grads
        return list(torch._foreach_add(grads, params, alpha=group["wd"]))

    def average(self, name: str, params: list[Tensor]) -> list[Tensor]:
        """The running averages called `name`, zero at first."""
        states = [self.state[param] for param in params]
        for state, param in zip(states, params, strict=True):
            if name not in state:
                state[name] = torch.zeros_like(param, memory_format=torch.preserve_format)
        return [state[name] for state in states]

    def averages(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> list[list[Tensor]]:
        """The averages of gradients (m = mom m + (1 - mom) g) and squared gradients, moved on by `grads`."""
        grad_avgs, sqr_avgs = self.average("grad_avg", params), self.average("sqr_avg", params)
        torch._foreach_lerp_(grad_avgs, grads, 1 - group["mom"])
        move_sqr_avgs(sqr_avgs, grads, group["sqr_mom"])
        return [grad_avgs, sqr_avgs]


class RMSprop(Rule):
    """p -= lr m / (sqrt(v) + eps) with m = mom m + g, as in fastai; torch's takes the momentum of the quotient."""

    def update(self, params: list[Tensor], step: int, group: dict[str, Any]) -> None:
        """One step; without momentum m is the gradient."""
        grads = self.decayed_grads(params, group)
        sqr_avgs = self.average("sqr_avg", params)
        move_sqr_avgs(sqr_avgs, grads, group["sqr_mom"])
        moves = grads
        if group["mom"] > 0:
            moves = self.average("grad_avg", params)
            torch._foreach_mul_(moves, group["mom"])
            torch._foreach_add_(moves, grads)
        torch._foreach_addcdiv_(params, moves, root(sqr_avgs, group["eps"]), value=-group["lr"])


class NAdam(Rule):
    """Adam that looks one momentum step ahead: m of Adam becomes mom m + (1 - mom) g, over 1 - mom^t.

    The form of S. Ruder, An overview of gradient descent optimization algorithms (2016); torch's follows Dozat's
    warmed-up momentum instead.
    """

    def update(self, params: list[Tensor], step: int, group: dict[str, Any]) -> None:
        """One step; sqrt(1 - sqr_mom^t) is moved from the averages into scalars, which saves a pass over memory."""
        grads = self.decayed_grads(params, group)
        grad_avgs, sqr_avgs = self.averages(params, grads, group)
        mom, debias = group["mom"], math.sqrt(1 - group["sqr_mom"] ** step)
        size = -group["lr"] * debias / (1 - mom**step)
        denominators = root(sqr_avgs, group["eps"] * debias)
        torch._foreach_addcdiv_(params, grad_avgs, denominators, value=size * mom)
        torch._foreach_addcdiv_(params, grads, denominators, value=size * (1 - mom))


class RAdam(Rule):
    """Adam whose first steps, while the squared average is still noise, are plain momentum (Liu et al., 2020).

    As in fastai, `eps` is added after the squared average is debiased; torch adds it before.
    """

    def update(self, params: list[Tensor], step: int, group: dict[str, Any]) -> None:
        """One step, rectified once the length of the moving average exceeds 5."""
        grad_avgs, sqr_avgs = self.averages(params, self.decayed_grads(params, group), group)
        size = -group["lr"] / (1 - group["mom"] ** step)
        longest = 2 / (1 - group["sqr_mom"]) - 1
        decayed = group["sqr_mom"] ** step
        length = longest - 2 * step * decayed / (1 - decayed)
        if length <= 5:
            torch._foreach_add_(params, grad_avgs, alpha=size)
            return
        shrink = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        debias = math.sqrt(1 - decayed)
        denominators = root(sqr_avgs, group["eps"] * debias)
        torch._foreach_addcdiv_(params, grad_avgs, denominators, value=size * math.sqrt(shrink) * debias)


class Lamb(Rule):
    """Adam whose step for each tensor is scaled to the size of the tensor, at most tenfold (You et al., 2020)."""

    def update(self, params: list[Tensor], step: int, group: dict[str, Any]) -> None:
        """One step; a tensor or a step of all zeros is not scaled."""
        grad_avgs, sqr_avgs = self.averages(params, self.decayed_grads(params, group), group)
        sizes = torch._foreach_norm(params)
        debias = math.sqrt(1 - group["sqr_mom"] ** step)
        moves = torch._foreach_div(grad_avgs, root(sqr_avgs, group["eps"] * debias))
        torch._foreach_mul_(moves, debias / (1 - group["mom"] ** step))
        ratios = torch.stack(sizes) / torch.stack(torch._foreach_norm(moves))
        # 0 / x, x / 0 and 0 / 0 all mean that there is nothing to compare.
        ratios = torch.where((ratios > 0) & ratios.isfinite(), ratios.clamp(max=10), 1.0)
        torch._foreach_mul_(moves, list(ratios.unbind()))
        torch._foreach_add_(params, moves, alpha=-group["lr"])


def move_sqr_avgs(sqr_avgs: list[Tensor], grads: list[Tensor], sqr_mom: float) -> None:
    """v = sqr_mom v + (1 - sqr_mom) g^2, in place."""
    torch._foreach_mul_(sqr_avgs, sqr_mom)
    torch._foreach_addcmul_(sqr_avgs, grads, grads, value=1 - sqr_mom)


def root(sqr_avgs: list[Tensor], eps: float) -> list[Tensor]:
    """sqrt(v) + eps."""
    roots = list(torch._foreach_sqrt(sqr_avgs))
    torch._foreach_add_(roots, eps)
    return roots


def chunks(params: list[Tensor]) -> Iterator[list[Tensor]]:
    """All parameters at once on an accelerator, where calls cost; runs of about CHUNK numbers on the CPU."""
    if params and params[0].device.type != "cpu":
        yield params
        return
    chunk: list[Tensor] = []
    size = 0
    for param in params:
        chunk.append(param)
        size += param.numel()
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
