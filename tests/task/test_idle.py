"""Keys without effect are told, and healthy configs bring no warning."""

import pytest

from expkit.build import build
from expkit.config.plan import plan
from expkit.task.idle import by_data, by_model, idle


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model.head=linear", "model.hidden=256"], "model.hidden has no effect: model.head=linear"),
        (["model.weights_part=body"], "model.weights_part has no effect: there are no model.weights"),
        (["augment=side_on", "augment.zoom=1.3", "augment.p_affine=0"], "augment.zoom has no effect"),
        (
            ["augment=side_on", "augment.p_affine=1", "augment.zoom=1", "augment.rotate=0", "augment.shift=0"],
            "augment.p_affine has no effect",
        ),
        (["augment=side_on", "augment.lighting=0", "augment.p_lighting=1"], "augment.p_lighting has no effect"),
        (
            ["augment=side_on", "augment.rotate=20", "transfer=frozen_precompute"],
            "augment.rotate has no effect: no phase augments",
        ),
        (["sched.warmup_div=10"], "sched.warmup_div has no effect: sched.warmup is 0"),
        (["sched.pct_start=0.4", "transfer=fine_tune"], r"sched.pct_start has no effect: transfer.phases.head.sched"),
        (["sched.pct_start=0.4", "transfer=full_recipe", "augment=side_on"], "sched.pct_start has no effect"),
        (
            ["sched=sgdr", "epochs=2", "sched.cycle_len=2", "sched.cycle_mult=3"],
            "sched.cycle_mult has no effect: one cycle",
        ),
        (["optim.mom=0.8"], "optim.mom has no effect: the schedule moves mom by itself; give sched.moms"),
        (
            ["optim.wd=0.3", "sched=custom", "sched.hypers={wd: 0.1}"],
            "optim.wd has no effect: the schedule moves wd by itself; give sched.hypers.wd",
        ),
        (["lr_find.num_it=50"], "lr_find.num_it has no effect: no learning rate is searched"),
        (["optim=sgd", "optim.mom=0", "optim.dampening=true", "sched=flat_cos"], "optim.dampening has no effect"),
        (
            ["optim=adagrad", "sched.moms=[0.9,0.8,0.9]", "transfer=scratch"],
            "sched.moms has no effect: adagrad has no momentum",
        ),
        (
            ["optim=torch", "optim.name=Adadelta", "sched=custom", "sched.hypers={mom: 0.9}"],
            "sched.hypers.mom has no effect: Adadelta has no momentum",
        ),
        (
            ["optim=adadelta", "transfer=fine_tune", "+transfer.phases.all.sched.moms=[0.9,0.8,0.9]"],
            "transfer.phases.all.sched.moms has no effect: adadelta has no momentum",
        ),
        (["optim=torch", "optim.name=Rprop"], "Rprop finds step sizes of its own"),
        (
            ["transfer=frozen_precompute"],
            "model.weights is null, so the layers that stay frozen are",
        ),
        (["transfer=fine_tune"], "model.weights is null, so that 2 epochs train on layers that are random and frozen"),
        (["model=efficientnet_lite0"], "model.weights are given, but the phase all trains every layer at the rate of"),
        (["data=pets", "data.seed=3"], "data.seed has no effect: data.valid_pct is null"),
    ],
)
def test_a_key_without_effect_is_told(config_of, overrides, expected):
    config = config_of("+experiment=digits", *overrides)
    assert any(sentence.startswith(expected) for sentence in idle(config, plan(config))), idle(config, plan(config))


@pytest.mark.parametrize(
    "overrides",
    [
        ["+experiment=digits"],
        ["+experiment=digits", "optim=sgd", "optim.mom=0.8", "sched=flat_cos", "sched.pct_start=0.3", "optim.lr=1"],
        ["+experiment=digits_transfer", "optim.lr=auto", "lr_find.num_it=50"],
        ["+experiment=digits", "model=efficientnet_lite0", "optim.lr={start: 1e-4, stop: 1e-2}"],
        ["+experiment=pets", "transfer=discriminative"],
        ["+experiment=digits_transfer"],
        ["+experiment=pets", "augment.zoom=1.0", "augment.rotate=20"],
        ["+experiment=pets", "transfer=frozen_precompute", "model=efficientnet_lite0"],
        ["+experiment=pets", "transfer=frozen_views"],
        ["+experiment=pets", "transfer=gradual_unfreeze"],
        ["+experiment=pets", "transfer=full_recipe"],
        ["+experiment=imagenette", "task=lr_find", "lr_find.scale=3"],
        ["+experiment=digits", "optim=torch", "optim.name=Rprop", "sched=constant"],
        ["+experiment=digits", "optim=adagrad"],
        ["+experiment=digits_transfer", "optim=adagrad", "transfer=full_recipe"],
        ["+experiment=digits", "optim=torch", "optim.name=NAdam", "sched.moms=[0.9,0.8,0.9]"],
    ],
)
def test_a_healthy_config_brings_no_warning(config_of, overrides):
    config = config_of(*overrides)
    assert idle(config, plan(config)) == []


def test_a_cut_that_is_not_made_is_told(colour_folders):
    for root, expected in ((colour_folders, True), (colour_folders / "train", False)):
        node = {"_target_": "expkit.data.folders", "root": str(root), "valid_pct": 0.3}
        told = [sentence.partition(" has")[0] for sentence in by_data(node, build(node, group="data"))]
        assert told == (["data.valid_pct"] if expected else [])


def test_dropout_that_is_scheduled_for_a_model_without_such_layers_is_told(config_of):
    config = config_of("+experiment=digits", "sched=custom", "sched.hypers={dropout: 0.2}")
    told = ["sched.hypers.dropout has no effect: the model has no dropout layer"]
    assert list(by_model(config, plan(config), 0)) == told
    assert list(by_model(config, plan(config), 2)) == []
