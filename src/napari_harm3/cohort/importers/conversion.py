"""Chosen DICOM series as NIfTI files that name nobody, and the rows of their cases.

Beside each volume a small JSON file says which series it came from and how that was
acquired, so that a second run keeps what is finished.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_harm3.artifacts import read_record, sha256_of, write_json
from napari_harm3.cohort.case import ROLES, TIMES
from napari_harm3.cohort.importers.found import ANNOTATIONS, RECORDED, Found, plain
from napari_harm3.cohort.importers.listing import Row
from napari_harm3.cohort.rows import DAYS
from napari_harm3.errors import CohortError, VolumeError, sentence
from napari_harm3.mri.annotation import read_annotation
from napari_harm3.mri.dicom import list_series, read_listed
from napari_harm3.mri.dicom_headers import (
    SEGMENTATIONS,
    STRUCTURES,
    dicom_errors,
    dicom_files,
    read_dataset,
)
from napari_harm3.mri.series import SeriesInfo, find, patient_of, study_date_of
from napari_harm3.mri.volume import Volume, write_volume

ACQUISITION = (*RECORDED, "contrast", "echo_ms", "repetition_ms", "inversion_ms")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What became of a case."""

    row: Row
    failed: list[dict[str, str]] = field(default_factory=list)
    """``case_id``, ``column`` and ``message`` of what could not be converted."""

    @property
    def empty(self) -> bool:
        """Whether it has no file."""
        return not any(isinstance(cell, Path) for cell in self.row.values())


def list_all(source: Path) -> list[SeriesInfo]:
    """Return the image series of a folder, and the annotations drawn on them.

    Raises
    ------
    CohortError
        If there is neither.
    VolumeError
        If a DICOM file is damaged.
    """
    images, files = list_series(source), dicom_files(source)
    seen = {file for info in images for file in info.files}
    annotations = [_annotation(file) for file in files if file not in seen]
    found = images + [info for info in annotations if info is not None]
    if not found:
        raise CohortError(
            f"{source.name} holds no DICOM image that says where it lies, and no "
            "annotation: give the folder of an export."
        )
    return found


def _annotation(file: Path) -> SeriesInfo | None:
    header = read_dataset(file)
    with dicom_errors(file.name):
        kind = str(header.get("SOPClassUID", ""))
        if kind != STRUCTURES and kind not in SEGMENTATIONS:
            return None
        frame = _frame_of_reference(header)
        return SeriesInfo(
            uid=str(header.get("SOPInstanceUID", "")),
            study_uid=str(header.get("StudyInstanceUID", "")),
            number=None,
            files=(file,),
            modality="RTSTRUCT" if kind == STRUCTURES else "SEG",
            description="",
            study_date=study_date_of(header),
            patient=patient_of(header),
            sequence=None,
            sequence_reason="an annotation",
            contrast=None,
            echo_ms=None,
            repetition_ms=None,
            inversion_ms=None,
            plane="oblique",
            fat_saturation=None,
            field_tesla=None,
            frame_of_reference=frame,
            slices=0,
            spacing_mm=None,
            refers_to=tuple(_referred(header)),
        )


def _referred(header: Any) -> Iterator[str]:
    """Yield the studies and the series that contours or a segmentation name."""
    for series in header.get("ReferencedSeriesSequence") or ():
        yield str(series.get("SeriesInstanceUID", ""))
    for frame in header.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            yield str(study.get("ReferencedSOPInstanceUID", ""))
            for series in study.get("RTReferencedSeriesSequence") or ():
                yield str(series.get("SeriesInstanceUID", ""))


def _frame_of_reference(header: Any) -> str | None:
    """Return where contours lie: said of each structure, or of the whole object."""
    for structure in header.get("StructureSetROISequence") or ():
        if structure.get("ReferencedFrameOfReferenceUID"):
            return str(structure.ReferencedFrameOfReferenceUID)
    return str(find(header, "FrameOfReferenceUID") or "") or None


def convert_case(members: Sequence[Found], out: Path, *, keep_dates: bool) -> Converted:
    """Write the volumes and masks of one case; what fails is told, the rest is done."""
    case_id = members[0].case_id
    done = Converted(row={"case_id": case_id})
    images = {r: one for one in members for r in one.roles if r in ROLES}
    for role in sorted(images, key=ROLES.index):
        source = _Source(images[role], f"{case_id} {role}")
        masks = [one for one in members if f"mask_{role}" in one.roles]
        for column, one in (
            (role, images[role]),
            *((f"mask_{role}", m) for m in masks),
        ):
            try:
                done.row[column] = _write(out / case_id, column, one, source)
            except (VolumeError, OSError) as error:
                message = sentence(error, f"{column}.nii.gz")
                done.failed.append(
                    {"case_id": case_id, "column": column, "message": message}
                )
                break  # a mask without its volume is no use
    there = {role: images[role] for role in images if role in done.row}
    done.row.update(_about(there, keep_dates=keep_dates))
    return done


@dataclass
class _Source:
    """A series, read on first need."""

    found: Found
    name: str
    _volume: Volume | None = None

    def volume(self) -> Volume:
        if self._volume is None:
            self._volume = read_listed(self.found.info, self.name)
        return self._volume


def _write(folder: Path, column: str, one: Found, source: _Source) -> Path:
    """Write a volume, or a mask on its volume's grid; a finished one is kept."""
    path, record = folder / f"{column}.nii.gz", folder / f"{column}.json"
    about = {
        "fingerprint": one.fingerprint,
        "volume": source.found.fingerprint,
        "stamp": _stamp((*one.info.files, *source.found.info.files)),
    }
    told = read_record(record)
    if told.items() >= about.items() and told.get("sha256") == _sum(path):
        return path
    # The record goes first and comes last: it never speaks of another file's voxels.
    record.unlink(missing_ok=True)
    volume = source.volume()
    if one.info.modality in ANNOTATIONS:
        array = read_annotation(one.info.files[0], volume)
    else:
        array = _smallest(volume.array)
        about |= {name: getattr(one.info, name) for name in ACQUISITION}
    write_volume(path, array, volume.affine)
    write_json(record, about | {"sha256": sha256_of(path)})
    return path


def _stamp(files: Sequence[Path]) -> str:
    """Return what changes with the files' sizes and times: an export made again."""
    states = [file.stat() for file in files]
    told = "\n".join(f"{one.st_size} {one.st_mtime_ns}" for one in states)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _sum(path: Path) -> str | None:
    return sha256_of(path) if path.exists() else None


def _smallest(array: np.ndarray) -> np.ndarray:
    """Return whole numbers as such: scanners make no others, and they pack well."""
    limits = np.iinfo(np.int16)
    whole = bool((array == np.rint(array)).all())
    if whole and limits.min <= array.min() and array.max() <= limits.max:
        return array.astype(np.int16)
    return array


def _about(images: dict[str, Found], *, keep_dates: bool) -> dict[str, str]:
    """Return the cells that say how and when the volumes were acquired."""
    cells = {}
    agents = {one.info.contrast for r, one in images.items() if r.startswith("t1_")}
    if agents and None not in agents:
        cells["contrast"] = "no" if False in agents else "yes"
    for name in RECORDED:
        for role, one in images.items():
            cells[f"{name}_{role}"] = plain(getattr(one.info, name))
    return cells | _when(images, keep_dates=keep_dates)


def _when(images: dict[str, Found], *, keep_dates: bool) -> dict[str, str]:
    days: dict[str, Found] = {}
    for role, one in images.items():
        days.setdefault(role.partition("_")[2], one)
    if keep_dates:
        return {
            f"date_{time}": str(one.info.study_date)
            for time, one in days.items()
            if one.info.study_date is not None
        }
    # A case may be made of two patients, whose days have beginnings of their own.
    pre, post = (d.info.study_date if (d := days.get(time)) else None for time in TIMES)
    if pre is None or post is None:
        return {}
    return {DAYS: str((post - pre).days)}
