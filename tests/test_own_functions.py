"""Functions of a user's own in place of expkit's: each runs, or ends in a sentence."""

from dataclasses import replace

import pytest
from torch import nn

from expkit.augment import none
from expkit.config.schema import check_config
from expkit.errors import UserError
from expkit.model.classifier import Classifier, LayerGroup
from expkit.optim import sgd
from expkit.run_folder import RunFolder
from expkit.sched import linear
from expkit.task.schedule_plot import plot_schedule
from expkit.wiring import assemble

OWN = __name__


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("EXPKIT_TRUST", OWN.partition(".")[0])


def net(classes, *, width: int = 8):
    body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    groups = [LayerGroup("body", (body,))]
    return Classifier(body, pool, nn.Linear(width, classes), body_groups=groups, mean=(0.5,) * 3, std=(0.2,) * 3)


class Plain(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body, self.fc = nn.Flatten(), nn.Linear(3 * 64, classes)
        self.layer_groups = [LayerGroup("all", (self.body, self.fc))]


class Ungrouped(Plain):
    def __init__(self, classes):
        super().__init__(classes)
        self.layer_groups = [LayerGroup("all", (self.body,))]


class NamesOnly(Plain):
    def __init__(self, classes):
        super().__init__(classes)
        self.layer_groups = ["body", "fc"]


def of_no_classes(*, width: int = 8):
    return net(2, width=width)


def by_position(classes, width=8):
    return net(classes, width=width)


def unannotated(model, *, lr=0.01):
    return sgd(model, lr=lr)


def falling(peaks, epochs, *, to: float = 0.1):
    return {"lr": [linear(peak, peak * to) for peak in peaks]}


def of_peaks(peaks):
    return {"lr": peaks}


def as_it_is(size):
    return none(size)


def digits(config_of, transfer, **nodes):
    """A checked config on digits with functions of this file, as {group: (name, keys)}."""
    config = config_of("+experiment=digits", f"transfer={transfer}", "epochs=1", "tracking=none", "num_workers=0")
    own = {group: {"_target_": f"{OWN}.{name}", **keys} for group, (name, keys) in nodes.items()}
    return check_config(vars(replace(config, **own)))


def test_a_model_that_cannot_give_its_head_alone_is_built_whole(config_of):
    run = assemble(digits(config_of, "frozen_precompute", model=("net", {"width": 4})))
    train, _ = run.feed.batches(run.recipe.phases[0])
    features = next(iter(train)).images
    assert features.shape[1] == 4
    assert run.trainer.model(features).shape[1] == 10
    run.feed.close()


def test_own_optimizer_schedule_and_augmentation_do(config_of):
    own = {"model": ("net", {}), "optim": ("unannotated", {"lr": 0.1}), "sched": ("falling", {"to": 0.5})}
    run = assemble(digits(config_of, "scratch", augment=("as_it_is", {}), **own))
    assert run.base == [0.1, 0.1]
    run.feed.close()


@pytest.mark.parametrize(
    ("group", "name", "keys", "message"),
    [
        ("model", "of_no_classes", {}, r"model\._target_: .*of_no_classes.* must be callable as .*\(classes, \*, "),
        ("sched", "of_peaks", {}, r"sched\._target_: .* must be callable as .*of_peaks\(peaks, epochs, \*, "),
        ("model", "by_position", {"width": 4}, r"model\.width .* by_position takes it by position.* after a \*"),
        ("model", "Ungrouped", {}, r"model\._target_: the layer_groups of .*Ungrouped .*\n  fc\.weight is in none"),
        ("model", "NamesOnly", {}, r"model\._target_: the layer_groups of .*NamesOnly must be .*LayerGroup\(name"),
    ],
)
def test_what_cannot_be_called_or_trained_is_told_in_a_sentence(config_of, group, name, keys, message):
    with pytest.raises(UserError, match=message):
        assemble(digits(config_of, "scratch", **{group: (name, keys)}))


def test_features_are_not_precomputed_with_a_model_that_has_no_head_by_itself(config_of):
    with pytest.raises(UserError, match=r"Plain, but features .*Classifier\(body, pool, head, .* transfer=fine_tune"):
        assemble(digits(config_of, "frozen_precompute", model=("Plain", {})))


def test_the_schedule_of_a_model_without_weights_is_drawn(config_of, tmp_path, capsys):
    config = digits(config_of, "scratch", model=("Plain", {}))
    plot_schedule(config, RunFolder.create(tmp_path / "run", "test", {}, []))
    assert (tmp_path / "run" / "plots" / "schedule.png").is_file()
    assert capsys.readouterr().out.endswith("schedule.png\n")
