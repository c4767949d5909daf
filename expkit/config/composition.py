"""How Hydra composes a config here: every key of a function can be overridden, and a mapping given is the one used.

Hydra by itself refuses keys that a file does not spell out, and merges a mapping into the one it should replace. The
signatures of the functions say which keys there are (`schema` checks them), so the nodes of groups are open
here. A mapping at a place that takes a value, such as `{stop: lr}` at a learning rate, replaces what was there.
"""

import copy
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository, IConfigRepository
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from omegaconf import AnyNode, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from expkit.check import nearest
from expkit.config.files import GLOBAL, check_file, unreadable
from expkit.config.hydra_node import check_hydra, check_search_path
from expkit.config.schema import GROUPS, ROOT
from expkit.errors import UserError

PHASES = "transfer.phases"
"""The one mapping within a group whose entries are nodes of their own."""


class Repository(ConfigRepository):
    """Reads config files, and says of one that is wrong where."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        """The config of a file. Raises UserError that names the file and line of a mistake."""
        sources = [source for source in self.sources if source.is_config(config_path)]
        files = [Path(source.path, f"{config_path.removesuffix('.yaml')}.yaml") for source in sources]
        for misnamed in [] if files else [Path(source.path, f"{config_path}.yml") for source in self.sources]:
            if misnamed.is_file():
                raise UserError(f"{misnamed}: config files end in .yaml; rename it")
        if len(files) > 1 and all(file.is_file() for file in files):
            raise UserError(f"{files[1]} would never be read, since {files[0]} has the same name; rename it")
        if files and files[0].is_file():
            check_file(files[0], config_path)
        try:
            return super().load_config(config_path)
        except (ValueError, OSError, yaml.YAMLError, OmegaConfBaseException) as error:
            raise UserError(unreadable(files[0] if files else Path(config_path), error)) from error


NAMELESS = "expkit"
"""What conf/config.yaml calls a job that nobody named."""
ALONE = ("compare",)
"""Tasks that have nothing to do with an experiment: without one they are called after themselves."""


class Loader(ConfigLoaderImpl):
    """Hydra's loader with these rules, for single runs, the jobs of a sweep, and `--cfg`."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = Repository(config_search_path)
        self.given: list[Override] = []
        self.read: dict[str, ConfigResult | None] = {}
        self.superseded: dict[int, list[str]] = {}
        self.named: str | None = None
        """What the data of the first config are called: the jobs of a grid belong together, whatever theirs are."""

    def load_configuration(self, *args: Any, **kwargs: Any) -> DictConfig:
        """Compose a config. Raises UserError for a hydra node that would run what is not trusted."""
        try:
            config = super().load_configuration(*args, **kwargs)
        except RecursionError as error:
            own = [name for name, found in self.read.items() if found and found.provider == "command-line"]
            names = ", ".join(name.removeprefix("config_path=") for name in own)
            raise UserError(f"the defaults of {names} lead in a circle: take one of them out") from error
        self.named = self.named or name_of_data(config)
        if config.hydra.job.name == NAMELESS:
            choices = config.hydra.runtime.choices
            config.hydra.job.name = choices.get("experiment") or (
                choices.task if choices.get("task") in ALONE else self.named
            )
        check_hydra(config.hydra)
        hide_in_logs(config.hydra.hydra_logging)
        for node, key in ((config.hydra.run, "dir"), (config.hydra.sweep, "dir"), (config.hydra.sweeper, "storage")):
            path = node._get_node(key) if key in node.keys() else None  # noqa: SIM118 (leaves out what is missing)
            if path is not None and isinstance(path._value(), str):
                node[key] = expanded(path._value())
        return config

    def _process_config_searchpath(
        self, config_name: str | None, parsed_overrides: list[Override], repo: CachingConfigRepository
    ) -> None:
        """Look at where further configs shall come from, before anything there is touched."""
        loaded = repo.load_config(config_name) if config_name else None
        check_search_path(OmegaConf.select(loaded.config, "hydra.searchpath") if loaded else None, parsed_overrides)
        super()._process_config_searchpath(config_name, parsed_overrides, repo)

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], CachingConfigRepository]:
        """Keep the overrides for later."""
        given, repo = super()._parse_overrides_and_create_caching_repo(config_name, overrides)
        self.given, self.read = latest(given), repo.cache
        refuse_choices(self.given, repo)
        return self.given, repo

    def _compose_config_from_defaults_list(self, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        """Merge the files, each value being that of the last file that has it, and open what may be overridden."""
        self.superseded = {}
        last: dict[str, tuple[ResultDefault, bool]] = {}
        givers: dict[str, list[ResultDefault]] = {}
        for default in defaults:
            paths = dict(values_in(default, repo))
            for group in {path.split(".")[0] for path in paths}:
                earlier_ones = givers.setdefault(group, [])
                if f"{group}._target_" in paths:  # a whole node
                    for one in earlier_ones:
                        self.superseded.setdefault(id(one), []).append(group)
                earlier_ones.append(default)
            for path, is_mapping in paths.items():
                earlier, was_mapping = last.get(path, (default, False))
                if earlier is not default and (is_mapping or was_mapping):
                    self.superseded.setdefault(id(earlier), []).append(path)
                last[path] = default, is_mapping
        config = super()._compose_config_from_defaults_list(defaults, repo)
        open_groups(config)
        refuse_phases(self.given, config)
        clear(self.given, config)
        return config

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        """The config of one file, without the values that a later file gives anew."""
        result = super()._load_single_config(default, repo)
        if paths := self.superseded.get(id(default)):
            result = copy.copy(result)
            result.config = copy.deepcopy(result.config)
            for path in paths:
                parent, _, key = path.rpartition(".")
                node = OmegaConf.select(result.config, parent) if parent else result.config
                if node is not None and key in node:
                    del node[key]
        return result


def name_of_data(config: DictConfig) -> str:
    """What runs without an experiment are called after: the file or folder that holds the data, or else its choice."""
    data = child(config, "data")
    for key in ("file", "source", "root"):
        node = data._get_node(key) if isinstance(data, DictConfig) else None
        given = node._value() if isinstance(node, AnyNode) else None
        path = Path(os.path.abspath(expanded(given))) if isinstance(given, str) else None
        if path and path.exists() and path.name:
            return path.stem if path.is_file() else path.name
    return str(config.hydra.runtime.choices.get("data") or "data")


def hide_in_logs(logging: DictConfig | None) -> None:
    """Have Hydra log without passwords, such as the overrides of each job; it sets its logging up again and again."""
    for formatter in child(logging, "formatters").values():
        if isinstance(formatter, DictConfig) and "()" not in formatter:
            OmegaConf.update(formatter, "class", "expkit.secrets.HidingFormatter", force_add=True)


def expanded(path: str) -> str:
    """A path, or the URL of a sqlite file, with the home directory in place of ~."""
    prefix = "sqlite:///" if path.startswith("sqlite:///~") else ""
    bare = path.removeprefix(prefix)
    return prefix + os.path.expanduser(bare) if re.match(r"~(/|$)", bare) else path


def values_in(default: ResultDefault, repo: IConfigRepository) -> Iterator[tuple[str, bool]]:
    """As `values_of`, for one of the files that a config is composed of, wherever in it that file goes."""
    loaded = repo.load_config(default.config_path) if default.config_path else None
    package = default.package or ""
    if loaded and package in ("", "_global_"):
        yield from values_of(loaded.config)
    elif loaded and package in GROUPS:
        yield from values_of({package: loaded.config})


def values_of(config: Any) -> Iterator[tuple[str, bool]]:
    """The dotted paths of what a file gives to keys of groups and of phases, and whether each is a mapping or list."""
    nodes: dict[str, Any] = {group: child(config, group) for group in GROUPS if group in config}
    phases = child(nodes.get("transfer"), "phases")
    nodes |= {f"{PHASES}.{name}": child(phases, name) for name in phases}
    for path, node in nodes.items():
        for key in node:
            if f"{path}.{key}" != PHASES:
                yield f"{path}.{key}", OmegaConf.is_config(node._get_node(key))


def child(node: Any, key: Any) -> Any:
    """The mapping below a key, an empty one where there is another thing or none."""
    if isinstance(node, DictConfig):
        found = node._get_node(key, validate_access=False)  # a struct would refuse to tell of a key that it lacks
    else:
        found = node.get(key) if isinstance(node, dict) else None
    return found if isinstance(found, DictConfig) and not (found._is_none() or found._is_missing()) else {}


def open_groups(config: DictConfig) -> None:
    """Let overrides set keys that no file spells out, and take any away."""
    for group in GROUPS:
        if node := child(config, group):
            OmegaConf.set_struct(node, False)


def refuse_phases(overrides: Sequence[Override], config: DictConfig) -> None:
    """Raise UserError for keys of phases that there are not, unless they are added with a plus sign."""
    known = {str(name) for name in child(child(config, "transfer"), "phases")}
    for override in overrides:
        name, _, key = override.key_or_group.removeprefix(f"{PHASES}.").partition(".")
        value = None if override.is_delete() else override.value()
        if override.key_or_group == PHASES and isinstance(value, dict):
            known |= {str(one) for one in value}
        elif not override.key_or_group.startswith(f"{PHASES}."):
            continue
        elif override.is_add() or override.is_force_add():
            known.add(name)
        elif name not in known:
            raise UserError(
                f"{PHASES}.{name} is no key of {PHASES}; {nearest(name, known)} (a further phase is added with a plus "
                f"sign: +{PHASES}.{name}{f'.{key}' if key else ''}=...)"
            )


def replaces(override: Override) -> bool:
    """Whether an override gives a mapping or list to a key that takes a value, or a whole node to a group."""
    key, value = override.key_or_group, None if override.is_delete() else override.value()
    is_value = key.startswith("hydra.sweeper.") or ("." in key and key.split(".")[0] in GROUPS)
    is_node = key in GROUPS and isinstance(value, dict) and "_target_" in value
    return (is_value and isinstance(value, dict | list)) or is_node


def clear(overrides: Sequence[Override], config: DictConfig) -> None:
    """Take away what overrides replace, so that it is not merged with."""
    for override in overrides:
        key = override.key_or_group
        if replaces(override) and OmegaConf.is_config(OmegaConf.select(config, key, throw_on_missing=False)):
            OmegaConf.update(config, key, None, merge=False)


def latest(overrides: Sequence[Override]) -> list[Override]:
    """Overrides without those that a later one replaces whole, since Hydra would merge the two."""
    return [
        override
        for number, override in enumerate(overrides)
        if not any(supersedes(later, override) for later in overrides[number + 1 :])
    ]


def supersedes(later: Override, earlier: Override) -> bool:
    """Whether nothing is left of what an override gave once a later one is applied."""
    if later.key_or_group == earlier.key_or_group:
        return replaces(later) or (replaces(earlier) and not later.is_delete())
    return replaces(later) and earlier.key_or_group.startswith(f"{later.key_or_group}.")


def apply(overrides: Sequence[Override], config: DictConfig) -> None:
    """Apply overrides of values to a composed config, as `Loader` does."""
    left = latest(overrides)
    refuse_phases(left, config)
    clear(left, config)
    ConfigLoaderImpl._apply_overrides_to_config(left, config)


def refuse_choices(overrides: Sequence[Override], repo: IConfigRepository) -> None:
    """Raise UserError for choices that Hydra takes for something else: files with their suffix, several experiments."""
    for override in overrides:
        group, choice = override.key_or_group, override.value()
        if not repo.group_exists(group):
            continue
        sign = "+" if override.is_add() else ""
        if choice is None and not override.is_delete():
            raise UserError(f"{override.input_line} makes no choice: write {sign}{group}=NAME, or leave it out")
        if isinstance(choice, list) and group in (*GROUPS, *GLOBAL):
            first, all_of_them = choice[0] if choice else "NAME", ",".join(map(str, choice))
            raise UserError(
                f"{override.input_line}: a run has one of {group}; write {sign}{group}={first}"
                + (f", or for a run of each  -m {sign}{group}={all_of_them}" if group != "sweeps" else "")
            )
        for one in choice if isinstance(choice, list) else [choice]:
            if isinstance(one, str) and one.endswith((".yaml", ".yml")):
                name = one.rpartition(".")[0]
                raise UserError(f"{override.input_line}: leave the suffix out; write {sign}{group}={name}")


def search_path_of(folders: Sequence[str], main: str | None = None) -> ConfigSearchPath:
    """Where configs come from: expkit's own, then a user's folders in their order.

    Raises UserError where one is no folder.
    """
    search_path = create_config_search_path(main or str(ROOT / "conf"))
    for folder in folders:
        path = Path(folder).expanduser().absolute()
        if not path.is_dir():
            raise UserError(f"--config-dir {folder}: {path} is no folder")
        search_path.prepend("command-line", f"file://{path}", SearchPathQuery(provider="schema"))
    return search_path
