import pytest

from expkit.errors import UserError
from expkit.sched import custom, linear, one_cycle
from tests.trainer.test_loop import PHASES, Observer, first_batch, small_loaders, small_trainer


def test_loss_and_dropout_follow_schedules_with_the_optimizer():
    hypers = small_trainer(label_smoothing=0.1).hypers
    shown = custom([0.1, 0.1], 1, hypers={"label_smoothing": {"shape": "linear", "start": 0.4, "end": 0.0}, "wd": 0.5})
    apply = hypers.follow(shown | {"dropout": linear(0.0, 0.8)})
    apply(0.25)
    read = dict(zip(hypers.columns, hypers.read(), strict=True))
    assert read["label_smoothing"] == pytest.approx(0.3)
    assert read["dropout"] == pytest.approx(0.2)
    assert read["wd_0"] == 0.5


def test_scheduled_smoothing_reaches_the_loss():
    trainer = small_trainer()
    batch = first_batch()
    trainer.model.eval()
    apply = trainer.hypers.follow({"label_smoothing": linear(0.0, 0.5)})
    apply(0.0)
    plain = trainer.loss(batch)
    apply(0.5)
    assert trainer.loss(batch) != plain


def test_traces_hold_every_value_that_acted():
    trainer, seen = small_trainer(), []

    class Watch(Observer):
        def after_step(self, trainer, loss):
            seen.append(dict(zip(trainer.hypers.columns, trainer.hypers.read(), strict=True)))

    trainer.observe([Watch()])
    trainer.fit(PHASES[1], one_cycle([0.01, 0.02]) | {"dropout": linear(0.0, 1.0)}, *small_loaders())
    assert [row["dropout"] for row in seen] == pytest.approx([step / 12 for step in range(12)])
    assert max(row["lr_1"] for row in seen) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("schedules", "message"),
    [
        ({"label_smoothin": linear(0, 1)}, "did you mean 'label_smoothing'?"),
        ({"dropout": [linear(0, 1), linear(0, 1)]}, "dropout belongs to no layer group"),
        ({"lr": [linear(0, 1)]}, "lr needs a schedule for each of the groups body, head"),
    ],
)
def test_what_cannot_be_scheduled_is_named(schedules, message):
    with pytest.raises(UserError) as refused:
        small_trainer().hypers.follow(schedules)
    assert message in str(refused.value)


def test_what_one_phase_schedules_says_nothing_of_the_next():
    trainer = small_trainer(label_smoothing=0.1)
    configured = trainer.hypers.read()
    scheduled = {"mom": linear(0.5, 0.6), "dropout": linear(0.0, 0.8), "label_smoothing": linear(0.0, 0.5)}
    trainer.fit(PHASES[0], one_cycle([0.01, 0.02]) | scheduled, *small_loaders())
    assert trainer.hypers.read() != configured
    trainer.prepare(PHASES[1])
    assert trainer.hypers.read() == configured


@pytest.mark.parametrize(
    ("schedules", "message"),
    [
        ({"mom": linear(1.0, 0.5)}, "mom_0 is 1 at progress 0; it must be at least 0 and below 1"),
        ({"lr": linear(0.1, -0.1)}, "lr_0 is -0.01 at progress 0.55; it must be at least 0"),
        ({"label_smoothing": linear(0.0, 1.5)}, "label_smoothing is 1.05"),
        ({"wd": lambda t: float("nan")}, "wd_0 is nan"),
    ],
)
def test_values_with_which_no_step_can_be_taken_are_refused_before_training(schedules, message):
    hypers = small_trainer().hypers
    before = hypers.read()
    with pytest.raises(UserError, match=message):
        hypers.check(schedules)
    hypers.check(one_cycle([0.1, 0.1]) | {"mom": linear(0.0, 0.9), "dropout": linear(0.0, 0.99)})
    hypers.reset()
    assert hypers.read() == before
