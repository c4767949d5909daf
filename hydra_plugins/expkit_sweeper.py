"""The sweeper of `+sweeps=NAME`: Hydra takes one only from a module of this namespace package."""

from hydra.core.config_store import ConfigStore

from expkit.sweep.space.settings import sweeper_node
from expkit.sweep.sweeper import StudySweeper


class ExpkitSweeper(StudySweeper):
    """Searches with Optuna, see `expkit.sweep`."""


ConfigStore.instance().store(group="hydra/sweeper", name="expkit", node=sweeper_node(), provider="expkit")
