"""Where Hydra finds `+sweeps=NAME`: plugins must live in a module of this namespace package."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from expkit.config import ROOT


class ExpkitSearchPath(SearchPathPlugin):
    """Adds the folder above sweeps/ to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append it, after the application's own conf/."""
        search_path.append("expkit", f"file://{ROOT}")
