"""What is advised where a loss is no number has not been done already."""

import pytest

from expkit.record.advice import advice
from tests.trainer.test_loop import small_trainer


@pytest.mark.parametrize(
    ("overrides", "settings", "told", "not_told"),
    [
        ([], {}, ["a smaller optim.lr", "trainer.clip_norm=1"], ["fp32", "warmup", "lr_find"]),
        ([], {"clip_norm": 1.0}, ["a smaller optim.lr"], ["clip_norm"]),
        ([], {"clip_norm": 0.1}, ["a smaller optim.lr"], ["clip_norm"]),
        ([], {"clip_norm": 5.0}, ["trainer.clip_norm below its 5"], ["clip_norm=1"]),
        ([], {"precision": "bf16"}, ["trainer.precision=fp32"], []),
        (["sched=flat_cos"], {}, ["sched.warmup=0.1"], []),
        (["sched=flat_cos", "sched.warmup=0.2"], {}, [], ["warmup"]),
        (["optim.lr=auto"], {}, ["lr_find.scale below its 1"], ["optim.lr"]),
    ],
)
def test_only_what_is_left_to_try_is_advised(config_of, overrides, settings, told, not_told):
    found = advice(config_of("+experiment=digits", *overrides), small_trainer(**settings))
    assert found.startswith("train with ")
    assert [words for words in told if words not in found] == []
    assert [words for words in not_told if words in found] == []
