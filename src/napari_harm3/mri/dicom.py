"""DICOM series: grouped, checked slice by slice, and read as one volume.

highdicom stacks the slices: of five readers it was the only one that refused missing,
duplicate and mixed ones. What it refuses is told here with positions and file names.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from napari_harm3.artifacts import sha256_of
from napari_harm3.errors import VolumeError, sentence
from napari_harm3.mri.acquisition import (
    guessed_contrast,
    guessed_fat_saturation,
    guessed_sequence,
    image_type_of,
)
from napari_harm3.mri.affine import RAS_OF_LPS
from napari_harm3.mri.dicom_headers import (
    PER_FRAME,
    PHASES,
    Header,
    dicom_errors,
    grouped,
    read_dataset,
    read_headers,
)
from napari_harm3.mri.dicom_lost import Group, Lost, image_files, lost_images, with_lost
from napari_harm3.mri.series import (
    SeriesInfo,
    number_of,
    patient_of,
    plane_of,
    study_date_of,
)
from napari_harm3.mri.stack import SAME_DIRECTION, stacked, tolerance_mm
from napari_harm3.mri.volume import MOST_BYTES, Geometry, Volume

__all__ = [
    "SeriesInfo",
    "list_series",
    "read_listed",
    "read_series",
    "series_geometry",
    "series_sha256",
    "source_images",
]


@dataclass(frozen=True, kw_only=True)
class _Stack:
    """The images of one volume, their grid checked."""

    name: str
    headers: tuple[Header, ...]
    geometry: Geometry


def list_series(folder: Path) -> list[SeriesInfo]:
    """Return what a folder, and those in it, hold that may become volumes.

    Objects that are no images of a volume (structures, reports, colour captures) are
    left out; slices that make no volume are told with their fault, and so are those
    among which a damaged file lies.

    Raises
    ------
    VolumeError
        If the folder does not exist.
    """
    found = [_info(group) for group in _groups(folder)]
    return sorted(found, key=lambda one: (str(one.study_date), one.number or 0))


def read_series(path: Path) -> Volume:
    """Return the one volume that a DICOM folder, or a multi-frame file, holds.

    Raises
    ------
    VolumeError
        If it holds no series or several; if slices are missing, there twice, unevenly
        spaced or mixed; if pixels are damaged or cannot be decoded here.
    """
    return _read(_stack(path))


def read_listed(series: SeriesInfo, name: str) -> Volume:
    """Return the volume of a series as `list_series` found it.

    Parameters
    ----------
    series
        Whose files are still where they were.
    name
        What the volume is called in messages.

    Raises
    ------
    VolumeError
        As `read_series`.
    """
    headers = [header for file in series.files for header in read_headers(file)]
    meant = [one for one in headers if not series.frames or one.frame in series.frames]
    return _read(_stack_of(Group(headers=meant), name))


def series_geometry(path: Path) -> Geometry:
    """Return the grid of what `read_series` would read, from headers alone.

    Raises
    ------
    VolumeError
        If it holds no series or several, or its slices make no volume.
    """
    return _stack(path).geometry


def series_sha256(path: Path) -> str:
    """Return what `read_series` gives as the volume's SHA-256, no pixel decoded.

    Raises
    ------
    VolumeError
        As `series_geometry`.
    """
    files = dict.fromkeys(header.path for header in _stack(path).headers)
    return _digest([sha256_of(file) for file in files])


def source_images(path: Path) -> tuple[list[Any], Geometry]:
    """Return the headers of what `read_series` would read, and its grid.

    Raises
    ------
    VolumeError
        As `series_geometry`.
    """
    stack = _stack(path)
    datasets = {header.path: header.dataset for header in stack.headers}
    return list(datasets.values()), stack.geometry


def _groups(path: Path) -> list[Group]:
    with dicom_errors(path.name):  # pydicom reads a value when it is asked for
        import pydicom  # noqa: F401 - where it is absent, no file is to blame

        headers: list[Header] = []
        lost: list[Lost] = []
        for file in image_files(path):
            try:
                headers += read_headers(file)
            except VolumeError as error:
                lost += lost_images(file, str(error))
        return with_lost(grouped(headers), lost)


def _stack(path: Path) -> _Stack:
    group = _meant(path, _groups(path))
    return _stack_of(group, path.name)


def _stack_of(group: Group, name: str) -> _Stack:
    geometry = _geometry(group, name)
    if 4 * np.prod([float(n) for n in geometry.shape]) > MOST_BYTES:
        raise VolumeError(
            f"{name} holds over {MOST_BYTES >> 30} GiB of voxels, the most that is "
            "read: crop it."
        )
    return _Stack(name=name, headers=tuple(group.headers), geometry=geometry)


def _geometry(group: Group, name: str) -> Geometry:
    group.check()
    geometry = stacked([header.slice for header in group.headers], name)
    _check_stated(group.first, float(geometry.spacing_mm[2]), name)
    return geometry


def _check_stated(first: Header | Lost, spacing_mm: float, name: str) -> None:
    """Refuse slices of which every second one, or more, is missing: they lie evenly.

    Some scanners state the gap between slices instead of the distance of their
    centres. A gap is thinner than a slice, mostly by far; the distance seldom is.
    """
    stated = number_of(first, "SpacingBetweenSlices") or 0.0
    thickness = number_of(first, "SliceThickness") or 0.0
    if not 0 < thickness <= 2 * stated:
        return
    near = tolerance_mm(spacing_mm)
    gap = stated < thickness and abs(stated + thickness - spacing_mm) <= near
    times = round(spacing_mm / stated)
    if times >= 2 and abs(times * stated - spacing_mm) <= near and not gap:
        raise VolumeError(
            f"{name} misses slices: they lie {spacing_mm:.2f} mm apart, but were made "
            f"{stated:.2f} mm apart (SpacingBetweenSlices). Export the whole series "
            "again."
        )


def _meant(path: Path, groups: list[Group]) -> Group:
    """Return the only series of a folder, if there is no doubt.

    What the scanner made to plan the others, and single images of another series, are
    no volumes that anyone means.
    """
    if not groups:
        raise VolumeError(
            f"{path.name} holds no DICOM image that says where it lies: give the "
            "folder of one MR series."
        )
    infos = [_info(group) for group in groups]
    volumes = [
        index
        for index, info in enumerate(infos)
        if info.slices > 1 and not info.localizer
    ]
    if len(groups) == 1:
        return groups[0]
    if len(volumes) == 1:
        # Another part of the very series may hold slices that this one lacks.
        meant = volumes[0]
        if [info.uid for info in infos].count(infos[meant].uid) == 1:
            return groups[meant]
    titles = "; ".join(sorted(info.title for info in infos))
    remedy = "Give a folder with one of them, or use"
    if any(info.frames for info in infos):
        remedy = "Make a NIfTI file of the one you mean with"
    raise VolumeError(
        f"{path.name} holds {len(infos)} series or parts of series: {titles}. {remedy} "
        "`harm3 import dicom`."
    )


def _info(group: Group) -> SeriesInfo:
    with dicom_errors(group.first.path.name):
        return _described(group.first, group)


def _described(first: Header | Lost, group: Group) -> SeriesInfo:
    number = number_of(first, "SeriesNumber")
    sequence, reason = guessed_sequence(first)
    spacing, fault = _spacing(group)
    planes = [plane_of(header.slice.normal) for header in group.headers[:1]]
    return SeriesInfo(
        uid=str(first.get("SeriesInstanceUID", "")),
        study_uid=str(first.get("StudyInstanceUID", "")),
        number=None if number is None else int(number),
        files=group.files,
        frames=_frames(group.headers),
        modality=str(first.get("Modality", "")),
        description=str(first.get("SeriesDescription", "")),
        study_date=study_date_of(first),
        patient=patient_of(first),
        image_type=image_type_of(first),
        sequence=sequence,
        sequence_reason=reason,
        contrast=guessed_contrast(first),
        echo_ms=number_of(first, "EchoTime", "EffectiveEchoTime"),
        repetition_ms=number_of(first, "RepetitionTime"),
        inversion_ms=number_of(first, "InversionTime", "InversionTimes"),
        plane=planes[0] if planes else "oblique",
        fat_saturation=guessed_fat_saturation(first),
        field_tesla=number_of(first, "MagneticFieldStrength"),
        frame_of_reference=_frame_of_reference(first),
        slices=len(group.headers) + len(group.lost),
        spacing_mm=spacing,
        fault=fault,
        phase=tuple(number_of(first, *keywords) or 0.0 for keywords in PHASES),
    )


def _frames(headers: Sequence[Header]) -> tuple[int, ...]:
    """Return which frames of their file these are, unless they are all."""
    numbers = sorted(one.frame for one in headers if one.frame is not None)
    whole = not numbers or len(numbers) == len(headers[0].dataset[PER_FRAME].value)
    return () if whole else tuple(numbers)


def _spacing(
    group: Group,
) -> tuple[tuple[float, float, float] | None, str | None]:
    try:
        columns, rows, along = _geometry(group, "the series").spacing_mm
    except VolumeError as error:
        return None, str(error)
    return (float(columns), float(rows), float(along)), None


def _frame_of_reference(dataset: Any) -> str | None:
    return str(dataset.get("FrameOfReferenceUID") or "") or None


def _read(stack: _Stack) -> Volume:
    contents = {}
    for path in dict.fromkeys(header.path for header in stack.headers):
        try:
            contents[path] = path.read_bytes()
        except OSError as error:
            raise VolumeError(sentence(error, path.name)) from error
    datasets = [
        read_dataset(path, content=content, pixels=True)
        for path, content in contents.items()
    ]
    for path, dataset in zip(contents, datasets, strict=True):
        _check_decoder(path, dataset)
    try:
        with dicom_errors(stack.name, "decoded"):
            array, lps = _voxels(stack, datasets)
    except VolumeError:
        for path, dataset in zip(contents, datasets, strict=True):
            with dicom_errors(path.name, "decoded"):  # it says which file it is
                _ = dataset.pixel_array
        raise
    if not np.isfinite(array).all():
        raise VolumeError(
            f"{stack.name} holds NaN or infinite voxels: export it again."
        )
    affine = RAS_OF_LPS @ lps
    if affine[:3, 2] @ stack.geometry.affine[:3, 2] < 0:
        array = array[:, :, ::-1]
        affine[:3, 3] += affine[:3, 2] * (array.shape[2] - 1)
        affine[:3, 2] *= -1
    return Volume(
        shape=stack.geometry.shape,
        affine=affine,
        array=np.ascontiguousarray(array),
        name=stack.name,
        sha256=_digest([hashlib.sha256(c).hexdigest() for c in contents.values()]),
        frame_of_reference=_frame_of_reference(stack.headers[0].dataset),
    )


def _voxels(
    stack: _Stack, datasets: Sequence[Any]
) -> tuple[Float[np.ndarray, "X Y Z"], Float[np.ndarray, "4 4"]]:
    """Return voxels and LPS affine, axes columns, rows, slices."""
    import highdicom

    options = {"dtype": np.float32, "apply_real_world_transform": False}
    if stack.headers[0].frame is not None:
        image = highdicom.Image.from_dataset(datasets[0], copy=False)
        normal = stack.headers[0].slice.normal
        along = sorted(stack.headers, key=lambda one: one.slice.position_mm @ normal)
        planes = image.get_frames([one.frame for one in along], **options)
        return planes.transpose(2, 1, 0), RAS_OF_LPS @ stack.geometry.affine
    for dataset in datasets:
        _complete(dataset, datasets[0])
    volume = highdicom.get_volume_from_series(
        datasets,
        orientation_tol=SAME_DIRECTION,
        atol=tolerance_mm(float(stack.geometry.spacing_mm[2])),
        **options,
    )
    lps = np.array(volume.affine)[:, [2, 1, 0, 3]]
    return np.asarray(volume.array).transpose(2, 1, 0), lps


def _complete(dataset: Any, first: Any) -> None:
    """Give a slice what highdicom compares, where it is rounded otherwise or absent."""
    dataset.PixelSpacing = first.PixelSpacing
    if not dataset.get("FrameOfReferenceUID"):
        dataset.FrameOfReferenceUID = "2.25.1"  # of no meaning, and never kept


def _check_decoder(path: Path, dataset: Any) -> None:
    with dicom_errors(path.name):
        from pydicom.pixels import get_decoder

        from napari_harm3.mri.dicom_codecs import add_decoders

        add_decoders()
        syntax = dataset.file_meta.TransferSyntaxUID
        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:
            available = not syntax.is_encapsulated
    if not available:
        raise VolumeError(
            f"{path.name} is compressed as {syntax.name}, for which no decoder is "
            "installed: export it uncompressed."
        )


def _digest(digests: Sequence[str]) -> str:
    """Return one SHA-256 of files, whatever their names; of one file, its own."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
