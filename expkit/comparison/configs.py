"""What differs in the configs of runs, and which runs are repeats of one setup with other seeds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expkit import trust
from expkit.check import defaults
from expkit.comparison.runs import Compared
from expkit.config.edited import HARMLESS, leaves, plain_values, within
from expkit.config.schema import GROUPS
from expkit.errors import UserError
from expkit.record.glyphs import shortened
from expkit.urls import hide

TARGET = "._target_"


@dataclass(frozen=True)
class Setup:
    """Runs whose configs differ in nothing but the seed; most have one."""

    letter: str
    runs: tuple[Compared, ...]
    settings: Mapping[str, str]
    """What the setup has of the keys that differ between setups, as text; keys that it has not are left out."""

    @property
    def label(self) -> str:
        """What tells the setup from the others, in a few words."""
        ends = [key.rpartition(".")[2] for key in self.settings]
        short = {key: end if ends.count(end) == 1 else key for key, end in zip(self.settings, ends, strict=True)}
        told = " ".join(f"{short[key]}={value}" for key, value in self.settings.items())
        return told or self.runs[0].name

    @property
    def short_label(self) -> str:
        """The same for a sentence."""
        return shortened(self.label, 60)

    def name_of(self, run: Compared) -> str:
        """The letter of a run: A, or of several A1, A2 and so on."""
        return self.letter if len(self.runs) == 1 else f"{self.letter}{self.runs.index(run) + 1}"


def setups_of(runs: Sequence[Compared]) -> list[Setup]:
    """The runs, those of one setup together, in the order in which each comes first.

    Where nothing but the seed differs between any of them, each is a setup of its own.
    """
    configs = [values_of(run.config) for run in runs]
    groups: dict[str, list[int]] = {}
    for place, values in enumerate(configs):
        without = {key: value for key, value in values.items() if key != "seed"}
        groups.setdefault(json.dumps(without, sort_keys=True), []).append(place)
    if len(groups) == 1:
        groups = {str(place): [place] for place in range(len(runs))}
    firsts = [places[0] for places in groups.values()]
    keys = different([configs[place] for place in firsts], [runs[place].config for place in firsts])
    if any(len(places) > 1 for places in groups.values()):
        keys = [key for key in keys if key != "seed"]
    return [
        Setup(
            letter_of(number),
            tuple(sorted((runs[place] for place in places), key=lambda run: run.seed)),
            {shown(key): text_of(configs[places[0]][key]) for key in keys if key in configs[places[0]]},
        )
        for number, places in enumerate(groups.values())
    ]


def letter_of(number: int) -> str:
    """A, B, ... Z, AA, AB and so on."""
    head, last = divmod(number, 26)
    return (letter_of(head - 1) if head else "") + chr(ord("A") + last)


def values_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a run comes from, by dotted key; what a group leaves out, as an earlier version had it, at its
    default.
    """
    whole = {
        key: {**node, **defaults_of(node), **node} if key in GROUPS and isinstance(node, Mapping) else node
        for key, node in config.items()
        if key != "task"
    }
    return {key: value for key, value in leaves(plain_values(whole)) if not within(key, HARMLESS)}


def defaults_of(node: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of the function that a node names; none of one that is not trusted here."""
    try:
        return defaults(trust.resolve(str(node.get("_target_")), "_target_"))
    except UserError:
        return {}


def different(values: Sequence[Mapping[str, Any]], configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The dotted keys in which configs differ.

    Of a group with several choices, a key that only some of these have counts where one has another value than its
    default: optim=sgd without momentum says nothing against the betas of optim=adam.
    """
    keys = dict.fromkeys(key for one in values for key in one)
    usual = [dict(leaves(plain_values({group: defaults_of(one[group]) for group in GROUPS if group in one})))
             for one in configs]  # fmt: skip
    found = []
    for key in keys:
        having = [number for number, one in enumerate(values) if key in one]
        alike = all(values[number][key] == values[having[0]][key] for number in having)
        if len(having) == len(values):
            if not alike:
                found.append(key)
        elif any(key not in usual[number] or values[number][key] != usual[number][key] for number in having):
            found.append(key)
    return found


def shown(key: str) -> str:
    """A key as the command line has it: `optim` for the function that it names."""
    return key.removesuffix(TARGET)


def text_of(value: Any) -> str:
    """A value as a person reads it: functions by their last name, numbers in few digits."""
    if isinstance(value, str):
        return value.rpartition(".")[2] if value.startswith("expkit.") else hide(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return hide(json.dumps(value, ensure_ascii=False))
