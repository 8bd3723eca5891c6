"""DICOM files by their headers: what they hold, where it lies, what belongs together.

No message quotes a header's text: it may name a person.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from napari_harm3.errors import Harm3Error, VolumeError
from napari_harm3.mri.series import find, number_of
from napari_harm3.mri.stack import SAME_DIRECTION, UNEVEN_MM, Slice

MAGIC_AT, MAGIC = 128, b"DICM"

IMAGES = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{tail}"
    for tail in (
        *("4", "4.1", "4.4"),  # MR: classic, enhanced, converted to enhanced
        *("2", "2.1", "2.2"),  # CT
        *("128", "130", "128.1"),  # PET
        "7",  # secondary capture, where it says its place
    )
)
"""Storage classes that can be slices of a volume."""

SEGMENTATIONS = frozenset(f"1.2.840.10008.5.1.4.1.1.66.{tail}" for tail in ("4", "7"))
PER_FRAME = "PerFrameFunctionalGroupsSequence"
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"


ALIKE = (
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "ImageType",
    *("FrameType", "ComplexImageComponent", "StackID"),  # of enhanced images
)
TIMING = (
    ("EchoTime", "EffectiveEchoTime"),
    ("EchoNumbers",),
    ("InversionTime", "InversionTimes"),
    ("TemporalPositionIdentifier", "TemporalPositionIndex"),
    ("DiffusionBValue",),
)
"""What is one for all slices of a volume, as words and as numbers."""

TIMES = (
    "AcquisitionNumber",
    "AcquisitionTime",
    "TriggerTime",
    *("FrameAcquisitionNumber", "FrameAcquisitionDateTime"),
    "NominalCardiacTriggerDelayTime",
)
"""What tells one time from another."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """One image's header: a file's, or that of one frame of a multi-frame file."""

    path: Path
    dataset: Any
    """The file's header."""

    slice: Slice
    frame: int | None = None
    """Which image of a multi-frame file it is, counted from 1."""

    def get(self, keyword: str, default: Any = None) -> Any:
        """Return an attribute; of what is said frame by frame, only this one's."""
        if self.frame is not None and keyword == PER_FRAME:
            return [self.dataset[PER_FRAME][self.frame - 1]]
        return self.dataset.get(keyword, default)


@contextmanager
def dicom_errors(name: str, doing: str = "read as DICOM") -> Iterator[None]:
    """Turn whatever pydicom and highdicom raise into one sentence.

    Raises
    ------
    VolumeError
        Instead of any other exception.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values of the header
            yield
    except Harm3Error:
        raise
    except ImportError as error:
        raise VolumeError(
            f'{name} cannot be {doing} without more packages: `pip install "'
            'napari-harm3[dicom]"`.'
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise VolumeError(f"{name} cannot be read ({error.strerror}).") from error
        raise VolumeError(
            f"{name} cannot be {doing} ({type(error).__name__}): it is damaged or "
            "breaks the standard. Export it again."
        ) from error


def is_dicom(path: Path) -> bool:
    """Return whether a file begins as DICOM does."""
    try:
        with path.open("rb") as stream:
            return stream.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC
    except OSError:
        return False


def dicom_files(path: Path) -> list[Path]:
    """Return the DICOM files of a folder and of those in it, or the file itself."""
    if not path.exists():
        raise VolumeError(f"{path.name} does not exist: correct the path.")
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [file for file in files if file.is_file() and is_dicom(file)]


def read_dataset(
    path: Path, *, content: bytes | None = None, pixels: bool = False
) -> Any:
    """Return pydicom's dataset of a file, or of its bytes.

    Raises
    ------
    VolumeError
        If the file is no readable DICOM file.
    """
    with dicom_errors(path.name):
        from pydicom import dcmread

        source = path if content is None else BytesIO(content)
        return dcmread(source, stop_before_pixels=not pixels)


def storage_class(path: Path) -> str:
    """Return the UID that says what kind of object a DICOM file holds.

    Raises
    ------
    VolumeError
        If the file is damaged.
    """
    dataset = read_dataset(path)
    with dicom_errors(path.name):
        return str(dataset.get("SOPClassUID", ""))


def read_headers(path: Path) -> list[Header]:
    """Return the headers of a file's images; none if they are not of a volume.

    Raises
    ------
    VolumeError
        If the file is damaged.
    """
    dataset = read_dataset(path)
    with dicom_errors(path.name):
        return list(_headers(path, dataset))


def grouped(headers: Sequence[Header]) -> list[list[Header]]:
    """Return images by what one volume needs to be of one piece.

    That is: series, frame of reference, stack, echo, time, inversion and diffusion
    weighting, image type, matrix and orientation. The frames of one file are never put
    together with images of another.
    """
    groups: dict[tuple[Any, ...], list[list[Header]]] = {}
    for header in headers:
        alike = groups.setdefault(_key(header), [])
        for group in alike:
            if _same_orientation(group[0], header):
                group.append(header)
                break
        else:
            alike.append([header])
    found = [group for alike in groups.values() for group in alike]
    return [part for group in found for part in _by_time(group)]


def _headers(path: Path, dataset: Any) -> Iterator[Header]:
    image = str(dataset.get("SOPClassUID", "")) in IMAGES
    if not image or int(dataset.get("SamplesPerPixel", 1)) != 1:
        return
    frames = dataset.get(PER_FRAME)
    if frames is None:
        if "ImagePositionPatient" in dataset and "ImageOrientationPatient" in dataset:
            place = _slice(path.name, dataset, dataset.get)
            yield Header(path=path, dataset=dataset, slice=place)
        return
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
    for number, frame in enumerate(frames, start=1):
        place = _slice(f"frame {number}", dataset, _getter(frame, shared))
        yield Header(path=path, dataset=dataset, slice=place, frame=number)


def _getter(frame: Any, shared: Any) -> Callable[[str], Any]:
    places = {
        "ImagePositionPatient": "PlanePositionSequence",
        "ImageOrientationPatient": "PlaneOrientationSequence",
        "PixelSpacing": "PixelMeasuresSequence",
    }

    def get(keyword: str) -> Any:
        for group in (frame, shared):
            inner = group.get(places[keyword])
            if inner and keyword in inner[0]:
                return inner[0][keyword].value
        raise KeyError(keyword)

    return get


def _slice(name: str, dataset: Any, get: Callable[[str], Any]) -> Slice:
    between_rows, between_columns = (float(one) for one in get("PixelSpacing"))
    return Slice(
        name=name,
        size=(int(dataset.Columns), int(dataset.Rows)),
        position_mm=np.array(get("ImagePositionPatient"), dtype=float).reshape(3),
        orientation=np.array(get("ImageOrientationPatient"), float).reshape(2, 3),
        spacing_mm=(between_columns, between_rows),
    )


def _key(header: Header) -> tuple[Any, ...]:
    file = "" if header.frame is None else str(header.path)
    said = [str(find(header, keyword)) for keyword in ALIKE]
    timing = [number_of(header, *keywords) for keywords in TIMING]
    return (file, header.slice.size, *said, *timing)


def _same_orientation(one: Header, other: Header) -> bool:
    first, second = one.slice.orientation, other.slice.orientation
    return np.allclose(first, second, atol=SAME_DIRECTION)


def _by_time(group: list[Header]) -> list[list[Header]]:
    """Return a group in parts of one time each, if it holds the same places often.

    Slices of one volume may each have their own acquisition time, so time divides a
    group only where every part is as large as the others and no place is there twice.
    """
    if len(group) < 2 or not _repeats(group):
        return [group]
    for keyword in TIMES:
        parts: dict[str, list[Header]] = {}
        for header in group:
            time = str(find(header, keyword))
            parts.setdefault(time, []).append(header)
        even = len({len(part) for part in parts.values()}) == 1
        if len(parts) > 1 and even and not any(map(_repeats, parts.values())):
            return list(parts.values())
    return [group]


def _repeats(group: Sequence[Header]) -> bool:
    normal = group[0].slice.normal
    along = np.sort([header.slice.position_mm @ normal for header in group])
    return bool((np.diff(along) < UNEVEN_MM).any())
