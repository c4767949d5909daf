"""The training loop: explicit, and the only owner of the state that a resume needs."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from expkit.feed.loading import Batch, Loader
from expkit.interrupt import Stopped, StopRequest
from expkit.optim.optimizer import Optimizer
from expkit.randomness import seed_of
from expkit.sched import Schedules
from expkit.trainer.evaluate import Evaluation, evaluate, evaluate_views
from expkit.trainer.hypers import Hypers
from expkit.transfer import Phase


@dataclass
class State:
    """How far training has come. With the model's and the optimizer's tensors it is all that a resume needs."""

    phase: int = 0
    """Phases finished."""
    epoch: int = 0
    """Epochs finished in the phase."""
    batch: int = 0
    """Batches trained in the epoch."""
    step: int = 0
    """Optimizer steps taken in all."""
    epochs: int = 0
    """Epochs finished in all."""
    seconds: float = 0.0
    """Time spent on training steps."""
    found: dict[str, float] = field(default_factory=dict)
    """What the LR finder gave: by phase, and under "optim.lr" for the run."""


class Observer:
    """Watches a training; each method may stay empty, and all are called in the order of the trainer's list."""

    def start(self, trainer: "Trainer") -> None:
        """Before the first step of this process, with the state that a resumed run goes on from."""

    def after_step(self, trainer: "Trainer", loss: Tensor) -> None:
        """After an optimizer step; `loss` is a scalar on the device, not waited for."""

    def after_epoch(self, trainer: "Trainer", evaluation: Evaluation) -> None:
        """After the validation that ends an epoch."""

    def while_evaluating(self, trainer: "Trainer", images: int) -> None:
        """After a batch of an evaluation, which has seen so many images so far; a view of an image counts as one."""

    def on_stop(self, trainer: "Trainer") -> None:
        """When training ends early because a stop was asked for: between two steps, or in the validation after them."""

    def close(self) -> None:
        """When training is over, however it ended; a start that failed may have come before."""


class Trainer:
    """Trains a model phase by phase; observers watch, `stop` ends it after the step in hand."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        classes: int,
        seed: int,
        *,
        device: torch.device,
        autocast: torch.dtype | None = None,
        autocast_features: bool = False,
        accumulate: int = 1,
        clip_norm: float | None = None,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        checkpoint_every: int | None = None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.classes = classes
        self.seed = seed
        self.device = device
        self.autocast = autocast
        self.autocast_features = autocast_features
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.hypers = Hypers(model, optimizer, label_smoothing)
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, device=device)
        self.checkpoint_every = checkpoint_every
        self.state = State()
        self.stop = StopRequest()
        self.observers: Sequence[Observer] = ()
        self.stepping: list[Callable[[Trainer, Tensor], None]] = []

    def observe(self, observers: Sequence[Observer]) -> None:
        """Take the observers of this run and start them."""
        self.observers = observers
        # Only those that do something at a step are called there: an empty call costs a microsecond.
        self.stepping = [one.after_step for one in observers if type(one).after_step is not Observer.after_step]
        for observer in observers:
            observer.start(self)

    def prepare(self, phase: Phase) -> None:
        """Freeze what does not train in a phase that begins; averages run on where that was so before.

        Hyperparameters begin as configured. In a phase that goes on, the optimizer has been loaded with both.
        """
        if self.state.epoch == self.state.batch == 0:
            self.hypers.reset()
            first = phase.first(self.optimizer.groups)
            if first != self.optimizer.frozen:
                self.optimizer.freeze_to(first)
        if phase.train_bn != self.optimizer.body_bn:
            self.optimizer.require_grads(self.optimizer.frozen, phase.train_bn)
        self.hypers.rest(norms=not phase.precompute)

    def fit(self, phase: Phase, schedules: Schedules, train: Loader, valid: Loader) -> None:
        """Train one phase, from where the state stands in it to its end. Raises Stopped where a stop is asked for."""
        state = self.state
        self.prepare(phase)
        apply = self.hypers.follow(schedules)
        batches = train.stream(state.epochs, state.batch, state.epochs + phase.epochs - state.epoch)
        for epoch in range(state.epoch, phase.epochs):
            self.train_epoch(phase, batches, train.batches, apply)
            with self.stop.heeded():
                evaluation = self.evaluate(valid)
            state.epoch, state.batch, state.epochs = epoch + 1, 0, state.epochs + 1
            if state.epoch == phase.epochs:
                state.phase, state.epoch = state.phase + 1, 0
            for observer in self.observers:
                observer.after_epoch(self, evaluation)
            if self.stop.signal:
                raise Stopped

    def train_epoch(self, phase: Phase, batches: Iterator[Batch], size: int, apply: Callable[[float], None]) -> None:
        """Train the rest of the epoch of `size` batches that the state stands in."""
        state = self.state
        self.optimizer.set_train_mode(self.model)
        began = time.perf_counter()
        while state.batch < size:
            # Progress is a share of the phase, so neither batch size nor a resume can bend a schedule.
            apply((state.epoch + state.batch / size) / phase.epochs)
            loss = self.step(self.next_of(batches))
            state.batch += 1
            state.step += 1
            now = time.perf_counter()
            state.seconds += now - began
            began = now
            for after_step in self.stepping:
                after_step(self, loss)
            if self.stop.signal:
                raise Stopped

    def next_of(self, batches: Iterator[Batch]) -> Batch:
        """The next batch; a signal ends the wait for it, which may be long. Raises Stopped then."""
        stop = self.stop
        stop.at_once = True  # in place of `heeded`, which would take a microsecond of each step
        try:
            if stop.signal:
                raise Stopped
            return next(batches)
        finally:
            stop.at_once = False

    def step(self, batch: Batch) -> Tensor:
        """One optimizer step on one batch; the loss as a scalar on the device."""
        self.seed_step()
        loss = self.backward(self.on_device(batch))
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss

    def seed_step(self) -> None:
        """Seed what a step draws, such as dropout, from (seed, step) on the device at hand."""
        # torch.manual_seed visits every kind of device there may be, which takes 0.1 ms a step.
        seed = seed_of(self.seed, "step", self.state.step)
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.manual_seed(seed)
        elif self.device.type != "cpu":  # mps, xpu
            torch.get_device_module(self.device).manual_seed(seed)

    def backward(self, batch: Batch) -> Tensor:
        """Add the gradients of the batch's mean loss, piece by piece where the batch is cut; the loss, detached."""
        if self.accumulate == 1:
            loss = self.loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return loss.detach()
        total = torch.zeros((), device=self.device)
        for images, labels in zip(
            batch.images.chunk(self.accumulate), batch.labels.chunk(self.accumulate), strict=True
        ):
            loss = self.loss(Batch(images, labels)) * (self.weight(labels) / self.weight(batch.labels))
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += loss.detach()
        return total

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross entropy of a batch, in float32; images count as their classes weigh."""
        logits, smoothing = self.logits(batch), self.hypers.label_smoothing
        return F.cross_entropy(logits, batch.labels, self.class_weights, label_smoothing=smoothing)

    def weight(self, labels: Tensor) -> Tensor | int:
        """What images of these labels weigh together."""
        return len(labels) if self.class_weights is None else self.class_weights[labels].sum()

    def logits(self, batch: Batch) -> Tensor:
        """The model's logits, N x classes, in float32."""
        half = self.autocast is not None and (batch.images.ndim == 4 or self.autocast_features)
        context: AbstractContextManager[Any] = (
            torch.autocast(self.device.type, self.autocast) if half else nullcontext()
        )
        with context:
            logits: Tensor = self.model(batch.images)
        return logits.float()

    def evaluate(self, valid: Iterable[Batch], views: Iterable[Iterable[Batch]] | None = None) -> Evaluation:
        """Validate the model as it stands; with augmented `views` of the same images, averaged over these."""
        self.model.eval()
        seen = 0

        def logits_of(batch: Batch) -> Tensor:
            nonlocal seen
            logits = self.logits(self.on_device(batch))
            seen += len(batch.labels)
            for observer in self.observers:
                observer.while_evaluating(self, seen)
            return logits

        if views is not None:
            return evaluate_views(logits_of, valid, views, self.classes)
        return evaluate(logits_of, valid, self.classes)

    def on_device(self, batch: Batch) -> Batch:
        """The batch where the model is; pinned memory travels while the device computes."""
        if self.device.type == "cpu":
            return batch
        return Batch(*(tensor.to(self.device, non_blocking=True) for tensor in batch))

    @property
    def precision(self) -> str:
        """The precision that the model computes in: fp32 or bf16."""
        return "fp32" if self.autocast is None else "bf16"

    def state_dict(self) -> dict[str, Any]:
        """Everything a resume needs, as tensors and plain values."""
        return {
            "state": asdict(self.state),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave. Raises UserError where the model's groups have changed since."""
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.state = State(**saved["state"])
