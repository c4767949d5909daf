"""How far predictions have come: how many images are through, which, and what they were taken for."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

from expkit.trained.predictions import Predicted
from expkit.trained.tables import Columns


class Tally:
    """Counts images in the order of their source."""

    def __init__(self, kept: Mapping[str, Any] | None = None) -> None:
        """Begin at nothing, or at what `as_json` gave."""
        kept = kept or {}
        self.done: int = kept.get("done", 0)
        """Images that are through."""
        self.digest: str = kept.get("digest", "")
        """Stands for their names."""
        self.unreadable: int = kept.get("unreadable", 0)
        self.counts: Counter[str] = Counter(kept.get("counts", {}))
        """Images of each class."""

    def as_json(self) -> dict[str, Any]:
        """What to begin again with."""
        return {"done": self.done, "digest": self.digest, "unreadable": self.unreadable, "counts": self.counts}

    def add(self, batch: Predicted, columns: Columns) -> None:
        """Count a batch."""
        self.pass_by(batch.names)
        self.unreadable += len(batch.unreadable)
        self.counts.update(columns["class"])

    def pass_by(self, names: Iterable[bytes]) -> None:
        """Take note of names that are through."""
        for name in names:
            self.digest = blake2b(self.digest.encode() + name, digest_size=16).hexdigest()
            self.done += 1

    def begins(self, names: Iterator[bytes]) -> bool:
        """Whether names begin with those that are through, which are taken off."""
        again = Tally()
        while again.done < self.done and (name := next(names, None)) is not None:
            again.pass_by([name])
        return (again.done, again.digest) == (self.done, self.digest)
