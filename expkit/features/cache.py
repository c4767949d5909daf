"""`FeatureCache`: what frozen bodies make of images, computed once and read by every later epoch, run and trial."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

from expkit.augment import Transforms
from expkit.data.images.decode import RULE
from expkit.data.images.file_memory import cache_folder
from expkit.data.items import Images
from expkit.features.contents import contents_of
from expkit.features.entries import Entries, Entry
from expkit.features.extraction import Body, Source, extract
from expkit.features.identity import Frozen, key_of, transform_identity
from expkit.features.progress import counting
from expkit.features.room import check_room, writing
from expkit.features.rows import ROWS, STORED, TYPES, Features, RowWriter
from expkit.model.weights import write_tensors

WEIGHTS = "body.safetensors"


@dataclass(frozen=True)
class BodyInfo:
    """What is known of a frozen body without building it. Its weights are not removed while this lives."""

    width: int
    """The length of a feature vector."""
    groups: tuple[str, ...]
    """The names of its layer groups, the head left out."""
    precision: str
    """What it computes in: bf16 or fp32."""
    weights: Path
    """Its weights, safetensors under their names in the whole model ("body.*")."""
    held: Entry = field(repr=False, compare=False)


@dataclass(frozen=True)
class Job:
    """Features to be computed."""

    frozen: Frozen
    source: Source
    width: int
    precision: str
    num_workers: int | Literal["auto"]
    part: str

    @property
    def rows(self) -> int:
        """How many vectors there are."""
        return len(self.source.images)

    @property
    def size(self) -> int:
        """The bytes that they take."""
        return self.rows * self.width * STORED[self.precision].itemsize

    @property
    def facts(self) -> dict[str, Any]:
        """What the marker says of them."""
        return {
            "kind": "features",
            "model": self.frozen.title,
            "images": getattr(self.source.images, "root", type(self.source.images).__name__),
            "part": self.part,
            "view": self.source.view,
            "rows": self.rows,
            "width": self.width,
            "precision": self.precision,
        }


class FeatureCache:
    """Features of frozen bodies, kept in a folder that processes share; by default below `EXPKIT_CACHE`."""

    def __init__(self, folder: Path | None = None) -> None:
        self.entries = Entries(folder or cache_folder() / "features")
        self.ready: WeakKeyDictionary[Frozen, Body] = WeakKeyDictionary()

    def body(self, frozen: Frozen) -> BodyInfo:
        """What is known of a body; built where the cache does not know it yet, or lost it.

        Raises UserError where the cache cannot be written, and what `frozen.build` raises.
        """
        key = "body-" + key_of(frozen.identity)
        entry = self.entries.get(key, partial(self.fill_body, frozen), what=frozen.title)
        facts = entry.facts
        return BodyInfo(facts["width"], tuple(facts["groups"]), facts["precision"], entry.folder / WEIGHTS, entry)

    def fill_body(self, frozen: Frozen, folder: Path) -> dict[str, Any]:
        """Make the entry of a body."""
        model, device, autocast = frozen.build()
        state = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("body.")}
        with writing(self.entries.folder, sum(tensor.nbytes for tensor in state.values())):
            write_tensors(state, folder / WEIGHTS)
        body = self.ready[frozen] = Body(model, device, autocast)
        precision = next(name for name, dtype in TYPES.items() if dtype == body.dtype)
        return {
            "kind": "body",
            "model": frozen.title,
            "identity": dict(frozen.identity),
            "width": body.width(frozen.identity["image_size"]),
            "groups": [group.name for group in model.layer_groups[:-1]],
            "precision": precision,
        }

    def built(self, frozen: Frozen) -> Body:
        """The body itself, ready to compute; kept as long as `frozen` lives."""
        if frozen not in self.ready:
            self.ready[frozen] = Body(*frozen.build())
        return self.ready[frozen]

    def features(
        self,
        frozen: Frozen,
        images: Images,
        transforms: Transforms,
        *,
        view: int | None = None,
        seed: int = 0,
        num_workers: int | Literal["auto"] = "auto",
        part: str = "",
    ) -> Features:
        """The features of one view of some images: see `views`."""
        options: dict[str, Any] = {"seed": seed, "num_workers": num_workers, "part": part}
        return self.views(frozen, images, transforms, [view], **options)[0]

    def views(
        self,
        frozen: Frozen,
        images: Images,
        transforms: Transforms,
        views: Sequence[int | None],
        *,
        seed: int = 0,
        num_workers: int | Literal["auto"] = "auto",
        part: str = "",
    ) -> list[Features]:
        """The features of all images in their order, once for each view; computed now where the cache lacks them.

        Args:
            frozen: the body.
            images: the images; copies of them in another folder have the same features.
            transforms: what is done to them.
            views: None: each image as `transforms.valid` gives it; k: each as training sees it in epoch k.
            seed: the run's, from which the views are drawn.
            num_workers: processes that decode, where a body has to compute; auto: as for training.
            part: what a person calls these images ("train"), for the listing of the cache.

        Raises UserError where an image cannot be read, files change meanwhile, or the cache cannot be written or has no
        room for all views.
        """
        info = self.body(frozen)
        contents = contents_of(images, None)
        sources = [Source(images, transforms, view if transforms.random else None, seed, contents) for view in views]
        # The precision that `auto` came to, so that whoever asks for it by name finds the same features.
        identity = {**frozen.features_identity, "precision": info.precision}
        keys = [key_of(identity, contents.key, view_identity(source)) for source in sources]
        jobs = {
            key: Job(frozen, source, info.width, info.precision, num_workers, part)
            for key, source in zip(keys, sources, strict=True)
        }
        missing = sum(job.size for key, job in jobs.items() if self.entries.find(key) is None)
        with writing(self.entries.folder, missing):
            check_room(self.entries.folder, missing)
        opened = {key: Features(self.entry(key, job)) for key, job in jobs.items()}
        return [opened[key] for key in keys]

    def entry(self, key: str, job: Job) -> Entry:
        """The entry of one view."""
        what = f"features of {job.part or 'images'} by {job.frozen.title}"
        return self.entries.get(key, partial(self.fill_rows, job), what=what)

    def fill_rows(self, job: Job, folder: Path) -> dict[str, Any]:
        """Make an entry of features; the room on the disk is taken before the body is built."""
        with writing(self.entries.folder, job.size):
            writer = RowWriter(folder / ROWS, job.rows, job.width, job.precision)
        with writer, counting(f"{job.frozen.title} on {job.part or 'images'}", job.rows) as counter:
            for rows in extract(self.built(job.frozen), job.source, job.num_workers):
                with writing(self.entries.folder, job.size):
                    writer.write(rows)
                counter.add(len(rows))
        job.source.contents.check_unchanged()
        return job.facts


def view_identity(source: Source) -> list[Any]:
    """What a view depends on, besides the images."""
    transforms, train = source.transforms, source.view is not None
    read = {"rule": RULE, "side": transforms.side(train), "reading": repr(getattr(source.images, "reading", None))}
    if not train:
        return [transform_identity(transforms.valid), read]
    return [transform_identity(transforms.train, 0, 1, 2), source.view, source.seed, read]
