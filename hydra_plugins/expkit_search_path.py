"""Where Hydra finds `+sweeps=NAME`: plugins must live in a module of this namespace package."""

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.search_path_plugin import SearchPathPlugin

from expkit.config.schema import ROOT


class SweepsSource(FileConfigSource):
    """The folder above sweeps/ with that group alone: Hydra takes every other folder there, outputs too, for one."""

    @staticmethod
    def scheme() -> str:
        """What stands before :// in the search path."""
        return "sweeps"

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The groups and configs in a group, "" being the top."""
        if config_path == "":
            return [] if results_filter is ObjectType.CONFIG else ["sweeps"]
        return super().list(config_path, results_filter)


class ExpkitSearchPath(SearchPathPlugin):
    """Adds sweeps/ to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append it, after the application's own conf/."""
        search_path.append("expkit", f"sweeps://{ROOT}")
