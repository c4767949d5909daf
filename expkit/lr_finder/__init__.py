"""The LR finder: a short training with a growing rate, the curve it leaves, and the rates read off that curve."""

from expkit.lr_finder.suggestions import minimum, slide, steep, valley

__all__ = ["minimum", "slide", "steep", "valley"]
