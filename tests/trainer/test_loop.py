"""The trainer on small real models: determinism, resumes, phases, accumulation, clipping."""

import re

import pytest
import torch
from torch import nn

from expkit.errors import UserError
from expkit.feed.loading import Batch, TensorLoader
from expkit.model.classifier import LayerGroup
from expkit.model.head_only import HeadOnly
from expkit.optim import adam
from expkit.run_folder import RunFolder
from expkit.sched import one_cycle
from expkit.task.training import train_phases
from expkit.trainer import default
from expkit.trainer.loop import Observer, Stopped, Trainer
from expkit.trainer.precision import is_native, pick_device, wrong_in_bf16
from expkit.transfer import Phase
from expkit.wiring import assemble


class Perceptron(nn.Module):
    """Two layer groups with dropout between."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(16, 3)
        self.layer_groups = [LayerGroup("body", (self.body,)), LayerGroup("head", (self.head,))]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(features))


def small_loaders(items: int = 100, batch_size: int = 16) -> tuple[TensorLoader, TensorLoader]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (items,), generator=generator)
    features = torch.randn(items, 20, generator=generator)
    features[:, :3] += 4 * nn.functional.one_hot(labels)
    train, valid = (
        TensorLoader(features, labels, batch_size=batch_size, seed=3, train=train) for train in (True, False)
    )
    return train, valid


def small_trainer(**settings) -> Trainer:
    model = Perceptron()
    return default(model, adam(model, lr=0.01), 3, 3, device="cpu", **settings)


def fit(trainer: Trainer, *phases: Phase, items: int = 100, batch_size: int = 16) -> None:
    train, valid = small_loaders(items, batch_size)
    for phase in phases[trainer.state.phase :]:
        trainer.fit(phase, one_cycle([0.03, 0.03], phase.epochs), train, valid)


def accuracy(trainer: Trainer) -> float:
    return trainer.evaluate(small_loaders()[1]).metrics["valid_accuracy"]


def first_batch(batch_size: int = 16) -> Batch:
    return next(small_loaders(batch_size=batch_size)[0].stream(0, 0, 1))


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in trainer.model.state_dict().values()]


def equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


class StopAt(Observer):
    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, trainer, loss):
        if trainer.state.step == self.step:
            trainer.stop.signal = 15


PHASES = (Phase("head", 1, trains=1), Phase("all", 2))


def test_two_trainings_give_the_same_bits_and_learn():
    first, second = small_trainer(), small_trainer()
    before = accuracy(first)
    fit(first, *PHASES)
    fit(second, *PHASES)
    assert equal(weights(first), weights(second))
    assert accuracy(first) > before + 0.2
    assert (first.state.step, first.state.epochs, first.state.phase) == (18, 3, 2)


@pytest.mark.parametrize("step", [1, 5, 6, 7, 12, 17, 18])
def test_a_training_stopped_after_any_step_goes_on_to_the_same_bits(step):
    whole = small_trainer()
    fit(whole, *PHASES)
    stopped = small_trainer()
    stopped.observe([StopAt(step)])
    with pytest.raises(Stopped):
        fit(stopped, *PHASES)
    assert stopped.state.step == step
    resumed = small_trainer()
    resumed.load_state_dict(stopped.state_dict())
    torch.rand(step)  # whatever was drawn meanwhile
    fit(resumed, *PHASES)
    assert equal(weights(whole), weights(resumed))


def test_frozen_groups_stay_and_then_train():
    trainer = small_trainer()
    linear = trainer.model.body[0].weight
    before = linear.detach().clone()
    fit(trainer, PHASES[0])
    assert torch.equal(linear, before)
    fit(trainer, *PHASES)
    assert not torch.equal(linear, before)


def test_a_batch_cut_into_pieces_gives_the_gradient_of_the_whole():
    for batch_size in (16, 15):  # pieces of equal and of unequal size
        gradients = []
        for accumulate in (1, 4):
            trainer = small_trainer(accumulate=accumulate)
            trainer.model.eval()  # batch norm and dropout would make the pieces differ
            trainer.backward(first_batch(batch_size))
            gradients.append(trainer.model.head.weight.grad)
        assert torch.allclose(*gradients, atol=1e-6)


def test_clipping_bounds_the_norm_of_all_gradients():
    seen = []

    class Norms(Observer):
        def after_step(self, trainer, loss):
            seen.append(loss)

    trainer = small_trainer(clip_norm=1e-9)
    before = weights(trainer)[0]
    trainer.observe([Norms()])
    norm = []
    original = trainer.optimizer.step
    trainer.optimizer.step = lambda: (norm.append(total_norm(trainer.model)), original())
    fit(trainer, Phase("all", 1))
    assert max(norm) <= 1.01e-9
    assert len(seen) == 6
    assert not torch.equal(before, weights(trainer)[0])


def total_norm(model: nn.Module) -> float:
    return float(torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm())


def test_label_smoothing_acts_on_training_alone():
    plain, smooth = small_trainer(), small_trainer(label_smoothing=0.3)
    batch = first_batch()
    plain.model.eval()
    smooth.model.eval()
    assert plain.loss(batch) != smooth.loss(batch)
    valid = small_loaders()[1]
    assert plain.evaluate(valid).metrics == smooth.evaluate(valid).metrics


def test_class_weights_weigh_the_images_of_training_alone():
    plain, weighed = small_trainer(), small_trainer(class_weights=[1.0, 3.0, 0.5])
    batch = first_batch()
    plain.model.eval()
    weighed.model.eval()
    losses = nn.functional.cross_entropy(plain.logits(batch), batch.labels, reduction="none")
    weights = torch.tensor([1.0, 3.0, 0.5])[batch.labels]
    assert weighed.loss(batch).item() == pytest.approx((losses * weights).sum().item() / weights.sum().item())
    valid = small_loaders()[1]
    assert plain.evaluate(valid).metrics == weighed.evaluate(valid).metrics
    weighed.accumulate = 3
    assert float(weighed.backward(batch)) == pytest.approx(weighed.loss(batch).item())
    with pytest.raises(UserError, match="must be a list of 3 weights, one a class"):
        small_trainer(class_weights=[1.0, 2.0])


DIGITS = ("+experiment=digits", "data.classes=[0, 1, 8]", "image_size=16", "model=timm", "model.name=test_resnet")


def test_class_weights_are_given_by_name_by_order_or_by_how_rare_a_class_is(config_of):
    run = assemble(config_of(*DIGITS, "trainer.class_weights=auto"))
    counts = torch.bincount(torch.tensor(run.data.train.labels))
    assert torch.allclose(run.trainer.class_weights, counts.sum() / 3 / counts)
    named = assemble(config_of(*DIGITS, "trainer.class_weights={8: 2.5}")).trainer.class_weights
    assert named.tolist() == [1.0, 1.0, 2.5]
    assert assemble(config_of(*DIGITS, "trainer.class_weights=[1, 2, 3]")).trainer.class_weights.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{9: 2}", "trainer.class_weights names '9', which is no class; "),
        ("[1, 2]", "holds 2 weights for 3 classes; give one each, in this order: 0, 1, 8"),
        ("[1, 2, 0]", "trainer.class_weights"),
        ("automatic", "trainer.class_weights"),
    ],
)
def test_class_weights_that_fit_no_class_are_named(config_of, given, told):
    with pytest.raises(UserError, match=re.escape(told)):
        assemble(config_of(*DIGITS, f"trainer.class_weights={given}"))


@pytest.mark.parametrize("name", ["cuda:63", "gpu", "tpu"])
def test_a_missing_device_is_named(name):
    with pytest.raises(UserError, match=f"trainer.device={name} is not to be had here"):
        pick_device(name)


def test_images_train_to_the_same_bits_on_any_number_of_workers(config_of, colour_folders, tmp_path):
    results = []
    for workers in (0, 2, 4):
        config = config_of(
            "data=folders",
            f"data.root={colour_folders}",
            "augment=side_on",
            "image_size=32",
            "batch_size=8",
            "epochs=2",
            f"num_workers={workers}",
        )
        run = assemble(config)
        train_phases(run, RunFolder(tmp_path, "test"))
        run.feed.close()
        results.append(weights(run.trainer))
        assert run.trainer.state.step == 10
    assert equal(results[0], results[1])
    assert equal(results[0], results[2])


def test_bf16_is_left_where_its_gradients_are_wrong(config_of):
    small = ("+experiment=digits", "image_size=16")
    assert assemble(config_of(*small)).trainer.precision == "fp32"
    with pytest.raises(UserError, match=r"image_size=16: body\.layer4\.0\.conv1 sees an image of 1 x 1"):
        assemble(config_of(*small, "trainer.precision=bf16"))
    run = assemble(config_of("+experiment=digits", "image_size=32"))
    assert wrong_in_bf16(run.trainer.model, run.trainer.device, 32) == []
    assert run.trainer.precision == ("bf16" if is_native(run.trainer.device) else "fp32")


@pytest.mark.skipif(not is_native(torch.device("cpu")), reason="this processor does not compute in bfloat16")
@pytest.mark.parametrize(
    ("width", "precision", "half"),
    [(256, "auto", True), (255, "auto", False), (255, "bf16", True), (256, "fp32", False)],
)
def test_a_head_on_features_computes_in_bf16_from_a_size_on(width, precision, half):
    model = HeadOnly(nn.Linear(1024, width))
    trainer = default(model, adam(model, lr=0.01), width, 0, device="cpu", precision=precision)
    features = torch.randn(8, 1024)
    exact, found = model(features), trainer.logits(Batch(features, torch.zeros(8, dtype=torch.int64)))
    assert trainer.precision == ("bf16" if half else "fp32")
    assert torch.equal(found, exact) != half
    assert torch.allclose(found, exact, atol=0.05)


def test_an_image_size_that_the_model_does_not_take_is_named(config_of):
    pytest.importorskip("timm", reason="the extra timm is not installed")
    config = config_of("+experiment=digits", "image_size=32", "model=timm", "model.name=vit_tiny_patch16_224")
    with pytest.raises(UserError, match=r"image_size=32: .*; it was made for image_size=224$"):
        assemble(config)


@pytest.mark.parametrize("overrides", [("batch_size=1",), ("batch_size=5", "trainer.accumulate=4")])
def test_single_images_under_batch_norm_are_refused(config_of, overrides):
    with pytest.raises(UserError, match="a single image, on which batch norm cannot train: give a larger batch_size"):
        assemble(config_of("+experiment=digits", *overrides))
