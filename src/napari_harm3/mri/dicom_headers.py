"""DICOM files by their headers: what they hold, where it lies, what belongs together.

No message quotes a header's text: it may name a person.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float

from napari_harm3.errors import Harm3Error, VolumeError, sentence
from napari_harm3.mri.dicom_deflate import check_inflated
from napari_harm3.mri.series import find, number_of
from napari_harm3.mri.stack import SAME_DIRECTION, UNEVEN_MM, Slice

MAGIC_AT, MAGIC = 128, b"DICM"

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
IMAGES = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{tail}"
    for tail in (
        *("4", "4.1", "4.4"),  # MR: classic, enhanced, converted to enhanced
        *("2", "2.1", "2.2"),  # CT
        *("128", "130", "128.1"),  # PET
        "7",  # a capture, where it says its place
    )
)
"""Storage classes that can be slices of a volume."""

SEGMENTATIONS = frozenset(f"1.2.840.10008.5.1.4.1.1.66.{tail}" for tail in ("4", "7"))
PER_FRAME = "PerFrameFunctionalGroupsSequence"
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"

DEFLATED = "1.2.840.10008.1.2.1.99"
FIRST_GROUP, PIXEL_GROUP = 0x0008, 0x7FE0

UNSTATED = 0xFFFFFFFF
"""Length of a value that ends with a mark instead."""

PLACE = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
"""What says where an image lies, and in how many numbers."""

ALIKE = (
    *("PatientID", "StudyInstanceUID", "StudyDate"),  # a series' UID may be theirs all
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

PHASES = (
    ("TemporalPositionIdentifier", "TemporalPositionIndex"),
    ("AcquisitionNumber", "FrameAcquisitionNumber"),
    ("AcquisitionTime", "FrameAcquisitionDateTime"),
    ("TriggerTime", "NominalCardiacTriggerDelayTime"),
)
"""What tells which time comes first: of several, the first that differs."""


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
            raise VolumeError(sentence(error, name)) from error
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


def files_in(path: Path) -> list[Path]:
    """Return the files of a folder and of those in it, or the file itself.

    Raises
    ------
    VolumeError
        If the path does not exist.
    """
    if not path.exists():
        raise VolumeError(f"{path.name} does not exist: correct the path.")
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [file for file in files if file.is_file()]


def dicom_files(path: Path) -> list[Path]:
    """Return the DICOM files of a folder and of those in it, or the file itself."""
    return [file for file in files_in(path) if is_dicom(file)]


def read_dataset(
    path: Path,
    *,
    content: bytes | None = None,
    pixels: bool = False,
    force: bool = False,
) -> Any:
    """Return pydicom's dataset of a file, or of its bytes.

    Parameters
    ----------
    path
        The file.
    content
        Its bytes, if they were read already.
    pixels
        Whether to read it to its end.
    force
        Whether to read what is left of a damaged file, too.

    Raises
    ------
    VolumeError
        If the file is no readable DICOM file; if it is read to its end, and was cut.
    """
    with dicom_errors(path.name):
        from pydicom import dcmread

        with path.open("rb") if content is None else BytesIO(content) as stream:
            _check_deflated(stream, path.name)
            stream.seek(0)
            dataset = dcmread(stream, stop_before_pixels=not pixels, force=force)
        if force:
            _without_cut(dataset)
        elif pixels:
            check_whole(dataset, path.name)
        return dataset


def check_whole(dataset: Any, name: str) -> None:
    """Refuse a file that ends within a value, which pydicom lets pass.

    Raises
    ------
    VolumeError
        If the last value is shorter than the file says.
    """
    if _without_cut(dataset):
        raise VolumeError(
            f"{name} cannot be read as DICOM: it ends in the middle of a value, so it "
            "was cut short. Copy or export it again."
        )


def kind_in(dataset: Any) -> str:
    """Return the UID that says what kind of object a header is of; empty if none."""
    meta = getattr(dataset, "file_meta", {})
    kind = dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    return str(kind or "")


def storage_class(path: Path) -> str:
    """Return the UID that says what kind of object a DICOM file holds.

    Raises
    ------
    VolumeError
        If the file is damaged.
    """
    dataset = read_dataset(path)
    with dicom_errors(path.name):
        check_whole(dataset, path.name)
        return kind_in(dataset)


def read_headers(path: Path) -> list[Header]:
    """Return the headers of a file's images; none if they are not of a volume.

    Raises
    ------
    VolumeError
        If the file is damaged, or does not say where an image lies.
    """
    dataset = read_dataset(path)
    with dicom_errors(path.name):
        check_whole(dataset, path.name)
        return list(_headers(path, dataset))


def grouped(headers: Sequence[Header]) -> list[list[Header]]:
    """Return images by what one volume needs to be of one piece.

    That is: patient, study, series, frame of reference, stack, echo, time, inversion
    and diffusion weighting, image type, matrix and orientation. The frames of one file
    are never put together with images of another.
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


def _check_deflated(stream: BinaryIO, name: str) -> None:
    """Refuse a deflated file that holds more than its header says."""
    from pydicom.filereader import read_dataset as parsed
    from pydicom.filereader import read_preamble

    def header_until(group: int, stream: BinaryIO) -> Any:
        return parsed(stream, False, True, stop_when=lambda tag, *_: tag.group >= group)

    read_preamble(stream, force=True)
    if header_until(FIRST_GROUP, stream).get("TransferSyntaxUID") == DEFLATED:
        check_inflated(stream, name, partial(header_until, PIXEL_GROUP))


def _headers(path: Path, dataset: Any) -> Iterator[Header]:
    kind = kind_in(dataset)
    if not kind:
        raise VolumeError(
            f"{path.name} does not say what it is (SOPClassUID): it is damaged or was "
            "cut short. Export it again."
        )
    if kind not in IMAGES or int(dataset.get("SamplesPerPixel", 1)) != 1:
        return
    frames = dataset.get(PER_FRAME)
    if frames is None:
        place = _slice(path.name, path.name, dataset, dataset.get)
        yield Header(path=path, dataset=dataset, slice=place)
        return
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
    for number, frame in enumerate(frames, start=1):
        name = f"frame {number}"
        get = _getter(frame, shared)
        place = _slice(name, f"{path.name} ({name})", dataset, get)
        yield Header(path=path, dataset=dataset, slice=place, frame=number)


def _without_cut(dataset: Any) -> bool:
    """Drop the value within which a file ends; return whether there was one."""
    from pydicom.dataelem import RawDataElement

    part = dataset or dataset.file_meta
    for tag in list(part.keys())[-1:]:
        last = part.get_item(tag)
        stated = isinstance(last, RawDataElement) and last.length != UNSTATED
        if stated and len(last.value or b"") < last.length:
            del part[tag]
            return True
    return False


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
        return None

    return get


def _slice(name: str, where: str, dataset: Any, get: Callable[[str], Any]) -> Slice:
    place = {keyword: _numbers(where, keyword, get(keyword)) for keyword in PLACE}
    between_rows, between_columns = place["PixelSpacing"].tolist()
    return Slice(
        name=name,
        size=(int(dataset.Columns), int(dataset.Rows)),
        position_mm=place["ImagePositionPatient"],
        orientation=place["ImageOrientationPatient"].reshape(2, 3),
        spacing_mm=(between_columns, between_rows),
    )


def _numbers(where: str, keyword: str, value: Any) -> Float[np.ndarray, "N"]:
    try:
        return np.array(value, dtype=float).reshape(PLACE[keyword])
    except (TypeError, ValueError) as error:
        raise VolumeError(
            f"{where} does not say where it lies ({keyword} is missing, empty or "
            "wrong): export it again."
        ) from error


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
