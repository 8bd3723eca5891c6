"""The files that a slide is made of: found, known by content, watched for changes."""

import hashlib
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from napari_harm3.errors import SlideError

PROBE_BYTES = 1 << 22
"""A file up to sixteen times this is fingerprinted whole, a larger one by probes."""

DOUBLE_SUFFIXES = (".ome.tif", ".ome.tiff")
FEATURE_SUFFIXES = (".h5", ".pt")
Stamp = tuple[int, int, int]


def is_feature_file(path: Path) -> bool:
    """Return whether a file is called as bags of features are, and no slide."""
    return path.suffix.lower() in FEATURE_SUFFIXES


def stem_of(name: str) -> str:
    """Return a file's name without its suffix; ``.ome.tif`` is one suffix.

    Examples
    --------
    >>> stem_of("biopsy.2.ome.tif"), stem_of("biopsy.2.svs")
    ('biopsy.2', 'biopsy.2')
    """
    for suffix in DOUBLE_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of a case's slides, told apart: a later one bears its number.

    Examples
    --------
    >>> unique_names(["biopsy.tif", "biopsy.tif", "other.svs"])
    ('biopsy.tif', 'biopsy-2.tif', 'other.svs')
    """
    found: list[str] = []
    for number, name in enumerate(names, start=1):
        stem, own = stem_of(name), name
        others = (f"{stem}-{n}{name[len(stem) :]}" for n in count(number))
        while own in found or (own != name and own in names):
            own = next(others)
        found.append(own)
    return tuple(found)


def shown_name(path: Path) -> str:
    """Return a file's name as it can be written down: "?" for what is no UTF-8."""
    return path.name.encode(errors="replace").decode()


class SlideFiles:
    """The files of an open slide.

    Parameters
    ----------
    main
        The one that was opened, whose content tells slides apart.
    """

    def __init__(self, main: Path) -> None:
        self.main = main
        self._stamps = {main: _stamp(main)}

    def watch_parts(self, vendor: str) -> None:
        """Watch the other files too that a vendor's format spreads a slide over."""
        if vendor == "dicom":
            near = self.main.parent.iterdir()
            parts = [part for part in near if part.suffix == self.main.suffix]
        elif vendor == "mirax":
            parts = list(self.main.with_suffix("").iterdir())
        else:
            return
        # A folder changes with every file that is written into it.
        found = {part: _stamp(part) for part in parts if part.is_file()}
        self._stamps = found | self._stamps

    @property
    def changed(self) -> bool:
        """Whether one of them has another size, time or place on the disk now."""
        return any(_stamp(part) != stamp for part, stamp in self._stamps.items())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the main one; if it is large, of its size and sixteen probes."""
        digest = hashlib.sha256()
        size = self.main.stat().st_size
        with self.main.open("rb") as stream:
            if size <= 16 * PROBE_BYTES:
                digest.update(stream.read())
            else:
                digest.update(size.to_bytes(8, "little"))
                for probe in range(16):
                    stream.seek((size - PROBE_BYTES) * probe // 15)
                    digest.update(stream.read(PROBE_BYTES))
        return digest.hexdigest()


def file_of(path: Path, is_dicom: Callable[[Path], bool]) -> Path:
    """Return the file to open; of a folder, the DICOM file that stands for it.

    Raises
    ------
    SlideError
        If there is none, or it is empty or cannot be read.
    """
    try:
        file = _found(path, is_dicom)
        with file.open("rb") as stream:
            empty = not stream.read(1)
    except PermissionError as error:
        raise SlideError(f"{path.name} may not be read: change its rights.") from error
    except OSError as error:
        raise SlideError(f"{path.name} cannot be read: check the disk.") from error
    if empty:
        raise SlideError(f"{path.name} is empty (0 bytes): copy it again.")
    return file


def _found(path: Path, is_dicom: Callable[[Path], bool]) -> Path:
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.is_file() and is_dicom(file):
                return file
        raise SlideError(
            f"{path.name} is a folder without a DICOM slide: give the slide's file."
        )
    if not path.exists():
        dangling = " is a link to a file that is gone" if path.is_symlink() else ""
        raise SlideError(
            f"{path.name}{dangling or ' does not exist'}: correct the path."
        )
    if not path.is_file():  # a pipe would be waited for
        raise SlideError(f"{path.name} is a pipe or a device: give the slide's file.")
    return path


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ino
