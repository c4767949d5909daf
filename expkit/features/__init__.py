"""Frozen features: computed once, kept on disk, read by every later epoch, run and sweep trial."""

from expkit.features.cache import BodyInfo, FeatureCache
from expkit.features.identity import Frozen, identity_of
from expkit.features.loader import FeatureLoader
from expkit.features.rows import Features

__all__ = ["BodyInfo", "FeatureCache", "FeatureLoader", "Features", "Frozen", "identity_of"]
