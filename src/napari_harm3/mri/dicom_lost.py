"""Files that may be slices but cannot be placed, and whose slices they may be.

A slice that is lost at the end of a stack leaves no gap: only its file tells of it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_harm3.errors import VolumeError
from napari_harm3.mri.dicom_headers import (
    CAPTURE,
    IMAGES,
    Header,
    files_in,
    is_dicom,
    kind_in,
    read_dataset,
)

HEAD_BYTES = 1 << 20
"""Within these a header names its series."""

SUFFIX = ".dcm"
BARE = (b"\x02\x00", b"\x08\x00")
"""How a DICOM file begins whose first 132 bytes are missing: with its first group."""


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A file that may be an image of a volume, and why it cannot be placed."""

    path: Path
    fault: str
    header: Any
    """What can be read of it."""

    @property
    def series(self) -> tuple[str, str]:
        """Its series and its kind; empty where it was cut before it said so."""
        return (str(self.get("SeriesInstanceUID", "")), kind_in(self.header))

    @property
    def picture(self) -> bool:
        """Whether it is a capture, which need not say where it lies."""
        return self.series[1] == CAPTURE and "ImagePositionPatient" not in self.header

    def get(self, keyword: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.header.get(keyword, default)

    def may_be_of(self, images: Sequence[Header]) -> bool:
        """Return whether it may be one of some images: of their series, or by them."""
        if self.series[0]:
            first = images[0]
            uid = str(first.get("SeriesInstanceUID", ""))
            return self.series == (uid, kind_in(first.dataset))
        return any(image.path.parent == self.path.parent for image in images)


@dataclass(frozen=True, kw_only=True)
class Group:
    """The images of one volume, and the files that may be more of them."""

    headers: Sequence[Header]
    lost: Sequence[Lost] = ()

    @property
    def first(self) -> Header | Lost:
        """One that speaks for all."""
        return self.headers[0] if self.headers else self.lost[0]

    @property
    def files(self) -> tuple[Path, ...]:
        """Of both, in order."""
        paths = {one.path for one in self.headers} | {one.path for one in self.lost}
        return tuple(sorted(paths))

    def check(self) -> None:
        """Refuse a volume that may lack slices.

        Raises
        ------
        VolumeError
            If there are lost files.
        """
        if not self.lost:
            return
        told = self.lost[0].fault
        if len(self.lost) > 1:
            told += f" So it is with {len(self.lost) - 1} more files."
        if not self.lost[0].series[0]:
            told += " If it is no slice of this series, take it out of the folder."
        raise VolumeError(told)


def image_files(path: Path) -> list[Path]:
    """Return the DICOM files of a folder, and what is left of others.

    Raises
    ------
    VolumeError
        If the path does not exist.
    """
    return [file for file in files_in(path) if is_dicom(file) or _was_dicom(file)]


def lost_images(path: Path, fault: str) -> list[Lost]:
    """Return a file that could not be read, unless it says that it is no image."""
    header = _known(path)
    maybe = kind_in(header) in {"", *IMAGES}
    return [Lost(path=path, fault=fault, header=header)] if maybe else []


def with_lost(groups: Sequence[Sequence[Header]], lost: Sequence[Lost]) -> list[Group]:
    """Return groups of images with the lost files that may be theirs.

    Lost files that are nobody's make groups of their own, except pictures.
    """
    found = [
        Group(headers=group, lost=[one for one in lost if one.may_be_of(group)])
        for group in groups
    ]
    taken = {one.path for group in found for one in group.lost}
    alone: dict[tuple[str, str], list[Lost]] = defaultdict(list)
    for one in lost:
        if one.path not in taken and not one.picture:
            alone[one.series].append(one)
    return [*found, *(Group(headers=(), lost=members) for members in alone.values())]


def _was_dicom(path: Path) -> bool:
    """Return whether a file that does not begin as DICOM seems to be what is left."""
    if path.suffix.lower() == SUFFIX:
        return not path.name.startswith(".")  # macOS lays a "._" beside each file
    try:
        with path.open("rb") as stream:
            start = stream.read(2)
    except OSError:
        return True  # it may be anything
    return start in BARE and kind_in(_known(path)) in IMAGES


def _known(path: Path) -> Any:
    """Return what can be read of a header, however damaged it is."""
    try:
        with path.open("rb") as stream:
            return read_dataset(path, content=stream.read(HEAD_BYTES), force=True)
    except (OSError, VolumeError):
        return {}
