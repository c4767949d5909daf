"""The images in a zip, read where they are."""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from zipfile import BadZipFile, ZipFile

from PIL import Image

from expkit.data.images.decode import decode
from expkit.data.images.reading import Reading
from expkit.data.listing import JUNK, is_image
from expkit.data.packed import Packed
from expkit.errors import Unavailable, UserError
from expkit.words import many

LARGEST = 1 << 30
"""Bytes of a file in a zip: more are not unpacked, since a small zip may hold any number of them."""


@dataclass
class Zip:
    """The images in a zip, named by their paths in it."""

    path: str
    packed: Packed
    total: int | None
    notes: Sequence[str] = ()
    opened: tuple[int, ZipFile] | None = field(default=None, repr=False)
    """The process that opened the zip, and the open zip: a forked one would share its place in the file."""

    @classmethod
    def at(cls, path: str) -> "Zip":
        """The zip at a path. Raises UserError where it is damaged, or has no image."""
        try:
            with ZipFile(path) as opened:
                every = [info.filename for info in opened.infolist() if not info.is_dir()]
        except OSError as error:
            raise UserError(f"task.source: {path} cannot be read ({error.strerror or error})") from None
        except (BadZipFile, ValueError, NotImplementedError) as error:
            raise UserError(f"task.source: {path} is damaged, or no zip ({error}): bring a whole copy") from None
        found = [name for name in (os.fsencode(name) for name in every) if is_image(name) and not is_hidden(name)]
        if not found:
            raise UserError(f"task.source: there is no image among the {len(every)} files in {path}")
        left = many(len(every) - len(found), "file", "files")
        notes = [f"left out: {left} in the zip, hidden or no images by suffix"] if len(every) > len(found) else []
        return cls(path, Packed.from_names(found), len(found), notes)

    def names(self) -> Iterator[bytes]:
        """The path of each image in the zip."""
        return iter(self.packed)

    def read(self, name: bytes, side: int | None, reading: Reading) -> Image.Image:
        """Decode a file of the zip as `Source` says."""
        opened = self.zip()
        info = opened.getinfo(os.fsdecode(name))
        if info.file_size > LARGEST:
            raise ValueError(f"has {info.file_size / 1e9:.1f} GB once unpacked")
        if info.flag_bits & 1:
            raise ValueError("has a password")
        return decode(BytesIO(opened.read(info)), side, reading)

    def zip(self) -> ZipFile:
        """The zip, open in this process."""
        with LOCK:
            if self.opened is None or self.opened[0] != os.getpid():
                self.opened = os.getpid(), ZipFile(self.path)
            return self.opened[1]

    def check(self) -> None:
        """Raise Unavailable where the zip is gone."""
        if not os.path.isfile(self.path):
            raise Unavailable(f"task.source: {self.path} is gone: bring it back and go on")


LOCK = threading.Lock()
"""Held while a zip is opened, by one of the threads that read it."""


def is_hidden(name: bytes) -> bool:
    """Whether a file lies where programs leave theirs, or has a hidden name."""
    return any(part.startswith(b".") or part in JUNK for part in name.split(b"/"))
