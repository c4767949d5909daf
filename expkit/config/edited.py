"""What became of a run's config.yaml since the run began: changes are named, and made only where they are asked for."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from expkit.check import nearest
from expkit.command import command, shown
from expkit.config.files import load_yaml
from expkit.errors import UserError, first_ten
from expkit.run_folder import RunFolder
from expkit.whole_files import finite, read_json

HARMLESS = ("num_workers", "tracking", "trainer.checkpoint_every")
"""Keys that have no part in what a run comes to."""


def heed_edits(folder: RunFolder, allowed: Sequence[str]) -> list[str]:
    """The changes of config.yaml since the run began, a line each, once all of them are allowed; they are noted.

    `allowed` names keys, each with all below it. Raises UserError for changes that are not among them, for names that
    are no keys, and for a run that has ended, which a change would not change.
    """
    before = read_json(folder.facts).get("config")
    if before is None:  # of a version that kept none
        return []
    now = plain_values(OmegaConf.to_container(load_yaml(folder.config)))
    changed = {key: line for key, line in differences(before, now) if not within(key, HARMLESS)}
    keys = [key for key, _ in (*leaves(before), *leaves(now))]
    for name in allowed:
        if not any(within(key, [name]) for key in keys):
            raise UserError(f"resume.allow: {name} is no key of {folder.config}; {nearest(name, keys)}")
    if changed and folder.result.exists():
        raise UserError(
            f"{folder.path} has ended, so nothing would come of what changed in its {folder.config.name}:\n"
            f"{first_ten(list(changed.values()))}\nTake that back, or begin a new run with it"
        )
    refused = [key for key in changed if not within(key, allowed)]
    if refused:
        wanted = ",".join(dict.fromkeys([*allowed, *refused]))
        raise UserError(
            f"{folder.config} is not what the run began with:\n{first_ten([changed[key] for key in refused])}\n"
            "Take that back, or go on with it by\n"
            f"  {command(f'resume={shown(folder.path)}', f'resume.allow=[{wanted}]')}"
        )
    if changed:
        folder.note(config=now, edited=[*read_json(folder.facts).get("edited", []), *changed.values()])
    return list(changed.values())


def plain_values(node: Any) -> Any:
    """A config as JSON gives it back: keys are text, and what is no finite number is null."""
    return json.loads(json.dumps(finite(node)))


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The dotted keys in which two configs differ, each with a line that says how."""
    old, new = dict(leaves(before)), dict(leaves(now))
    for key in {**old, **new}:
        if key not in new or key not in old or old[key] != new[key] or type(old[key]) is not type(new[key]):
            was, is_now = (json.dumps(one[key], ensure_ascii=False) if key in one else "absent" for one in (old, new))
            yield key, f"{key} was {was}, is now {is_now}"


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested mappings, each with its dotted key."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def within(key: str, keys: Sequence[str]) -> bool:
    """Whether a dotted key is one of `keys`, or lies below one."""
    return any(key == one or key.startswith(f"{one}.") for one in keys)
