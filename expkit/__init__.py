"""expkit: declarative experiments in image classification."""

from types import ModuleType
from typing import TYPE_CHECKING

from expkit.api import Model, Result, compare, compose, load, resume, run

if TYPE_CHECKING:
    from expkit.api import sweep as sweep
else:
    from expkit import sweep
    from expkit.api import sweep as function

    class Callable(ModuleType):
        """A package that is a function as well.

        A function bound over its name would be in the way of `import expkit.sweep.study as study`, and of dotted names.
        """

        __call__ = staticmethod(function)

    sweep.__class__ = Callable

__all__ = ["Model", "Result", "compare", "compose", "load", "resume", "run", "sweep"]
__version__ = "0.1.0"
