"""What a sweep is, and how configs of its trials are composed; nothing heavy is imported for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from expkit import trust
from expkit.errors import UserError
from expkit.sweep.space.grammar import parsed, read_param
from expkit.sweep.space.settings import Settings
from expkit.sweep.space.spaces import Choice, Param, Search, Space, Value, bare, text_of
from expkit.urls import hide


@dataclass(frozen=True)
class Sweep:
    """Everything that the workers of a sweep are told; it travels to them through the launcher."""

    context: HydraContext
    config: DictConfig
    """The base config with Hydra's node, as the driver composed it."""
    settings: Settings
    search: Search
    folder: Path
    """The sweep's folder."""
    storage: str
    """URL of the study's database."""
    searches: Mapping[str, Any]
    """What its study searches, section by section: two sweeps that differ in it cannot share a study."""


def hide_password(config: DictConfig) -> None:
    """Take the storage's password out of a composed config, since Hydra writes it into folders that people share.

    A reference to it stays.
    """
    raw = OmegaConf.to_container(config.hydra, resolve=False)
    assert isinstance(raw, dict)
    with open_dict(config):
        if raw["sweeper"]["storage"] is not None:
            config.hydra.sweeper.storage = hide(raw["sweeper"]["storage"])
        config.hydra.overrides.hydra = [hide(override) for override in raw["overrides"]["hydra"]]


def conditional(conditions: str | None, params: Mapping[str, Any], search: Search) -> Sequence[Param | str]:
    """What the user's function adds to a trial with these params, but for keys that `search` says something of.

    Raises UserError where it fails, or gives what is no space or value.
    """
    if conditions is None:
        return []
    key = "hydra.sweeper.conditions"
    function = trust.resolve(conditions, key, ["expkit.sweep.conditions"])
    try:
        added = function(dict(params))
    except Exception as error:  # whatever a user's function may raise
        raise UserError(f"{key}: {conditions}({dict(params)}) raised {type(error).__name__}: {error}") from error
    if not isinstance(added, Mapping):
        raise UserError(f"{key}: {conditions} must give a mapping of keys to spaces, got {added!r}")
    told = search.keys
    return [
        read_param(parsed(f"{name}={text_of(value)}", f"{conditions}: {name}"), name)
        for name, value in added.items()
        if bare(name) not in told
    ]


def plain_value(space: Space, value: Value) -> Any:
    """A drawn value as the config holds it."""
    return space.plain[space.values.index(value)] if isinstance(space, Choice) else value
