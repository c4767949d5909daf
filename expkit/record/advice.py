"""What to do where a training comes to no number: what its config has not tried yet."""

from expkit.config.schema import Config
from expkit.trainer.loop import Trainer

STEADY = 1.0
"""A bound of the gradients' norm that suits most trainings."""


def advice(config: Config, trainer: Trainer) -> str:
    """Ways to a loss that stays a number, of those that the config leaves open; the likeliest first."""
    searched = config.optim.get("lr") == "auto"
    ways = [f"lr_find.scale below its {config.lr_find.get('scale', 1.0):g}" if searched else "a smaller optim.lr"]
    if config.sched.get("warmup") == 0 and not str(config.sched["_target_"]).endswith(".one_cycle"):
        ways.append("a slow start with sched.warmup=0.1")
    if trainer.clip_norm is None:
        ways.append(f"gradients bounded with trainer.clip_norm={STEADY:g}")
    elif trainer.clip_norm > STEADY:
        ways.append(f"gradients bounded more closely, with trainer.clip_norm below its {trainer.clip_norm:g}")
    if trainer.autocast is not None:
        ways.append("all digits, with trainer.precision=fp32")
    return f"train with {', or '.join(ways)}"
