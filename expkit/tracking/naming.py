"""What runs and their params are called in a store: short, and by what differs."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from expkit.tracking.nested import parent_of
from expkit.whole_files import read_json

NAME = 100
"""Characters of a name that is made up of overrides."""
LONGEST = 250
"""Characters of a name, or of a param's, that MLflow takes at most."""
TELLING = ("model", "optim", "sched", "transfer")
"""The groups whose choices tell one run from another."""


def run_name(folder: Path) -> str:
    """What tells a run from its neighbours in a list: `resnet34 adam one_cycle fine_tune lr=0.01`.

    These are the choices of a run on its own, and what else it overrides; of a job of a grid, and of a trial behind
    its number, what it alone overrides. A name that was given is taken as it is.
    """
    facts = read_json(folder / "run.json", "overrides")
    parent = parent_of(folder)
    common = read_json(parent / "run.json", "overrides") if parent else {}
    is_trial = common.get("kind") == "study"
    if "name" in facts and not is_trial:
        return str(facts["name"])[:LONGEST]
    own = [one for one in telling(facts["overrides"]) if one not in common.get("overrides", [])]
    if is_trial:
        return in_line([facts.get("name", folder.name), *shortened(own)])
    if parent:
        return in_line(shortened(own)) or folder.name
    told = choices_of(facts, facts.get("config", {}))
    rest = [one for one in own if key_of(one) not in told and key_of(one).removesuffix(".name") not in told]
    return in_line([*told.values(), *shortened(rest)]) or folder.name


def telling(overrides: Sequence[str]) -> list[str]:
    """The overrides that say what a run does, not how its experiment is called, or where it reads and records."""
    return [one for one in overrides if not re.match(r"\+*(experiment=|name=|data\.root=|tracking[.=]|hydra[./])", one)]


def choices_of(facts: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """What a run chose of the telling groups, by the content of its run.json and its config.

    A model or an optimizer that is named itself, as timm's and torch's are, goes by that name.
    """
    found = {}
    for group in TELLING:
        node = config.get(group)
        if isinstance(node, dict) and "_target_" in node:
            target = str(node["_target_"]).rpartition(".")[2]
            choice = facts.get("choices", {}).get(group, target)
            name = node.get("name") if choice == target else None
            if choice != "recipe":  # of an earlier version, which did not note the choice
                found[group] = str(name or choice)
    return found


def params_of(facts: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The params of a run: those of its own, then its config, flattened with dots.

    A `_target_` is told as the choice of its group, `model` = `resnet34`, or by its last name.
    """
    yield from facts.get("params", {}).items()
    choices = facts.get("choices", {})
    for key, value in flatten(config):
        group, _, last = key.rpartition(".")
        if last == "_target_":
            yield group, choices.get(group, re.sub(r"^expkit\..*\.", "", str(value)))
        else:
            yield key, value


def flatten(node: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The leaves of nested mappings, each with its dotted path."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def in_line(words: Sequence[str]) -> str:
    """Words that are not cut, as many as there is room for; … stands for the others."""
    told: list[str] = []
    for word in words:
        if len(" ".join([*told, word])) <= NAME:
            told.append(word)
    return " ".join([*told, *(["…"] if len(told) < len(words) else [])])


def shortened(overrides: Sequence[str]) -> list[str]:
    """Overrides as a narrow column can show them: `optim.lr=0.0031622776` as `lr=0.00316`, unless two end in `lr`.

    The choice of a telling group is the choice alone.
    """
    last = Counter(key_of(one).rpartition(".")[2] for one in overrides)
    told = []
    for one in overrides:
        key, value = key_of(one), one.partition("=")[2]
        leaf = key.rpartition(".")[2]
        number = re.fullmatch(r"-?\d*\.\d{4,}(e-?\d+)?", value)
        shown = f"{float(value):.3g}" if number else value
        told.append(shown if key in (*TELLING, "task") else f"{leaf if last[leaf] == 1 else key}={shown}")
    return told


def key_of(override: str) -> str:
    """The key of an override, without the plus signs of one that is added."""
    return override.partition("=")[0].lstrip("+")
