"""A user's own volumes: found in a folder, and laid together in one space.

A ``cohort.csv`` in the folder says what is what. Otherwise every sub-folder is a
patient, and the names of files (and of folders within) tell sequence and time:
``study1_T1W.nii.gz``, ``post/t2.nii.gz``. A patient with one time point serves for
both.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from napari_harm3.cohort.case import PARTS, ROLES, SEQUENCES, TIMES
from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import CohortError, VolumeError
from napari_harm3.mri.alignment import Alignment, alignment_plan
from napari_harm3.mri.dicom_headers import is_dicom
from napari_harm3.mri.intensity import foreground
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.register import register
from napari_harm3.mri.resampling import Transform, resample
from napari_harm3.mri.volume import Volume
from napari_harm3.phantom.body import lattice_of
from napari_harm3.phantom.transforms import chain_of

TABLE = "cohort.csv"
SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
BODY = re.compile(r"(?i)(brain|body|head)[ _-]?mask")
OTHER = re.compile(r"(?i)flair|mask|seg|label|annot|[^a-z]gt[^a-z]|tumou?r| to ")
"""What is no T1 or T2 volume, whatever else its name says; ``_`` is a space here."""

SEQUENCE = re.compile(r"(?i)(?<![a-z0-9])t([12])(?!\d)")
TREATED = "c*rt|tx|op(?:erative)?|nac|chemo|surgery|treatment|[a-z]*therapy|mri|scan"
"""What may be written on to the short words: ``preRT``, ``postop``."""

END = rf"(?:{TREATED})?(?![a-z])"
"""Of the short words, since others begin with them: preproc, middle, posterior."""

VISIT = r"(?:study|ses|session|visit|time|tp)[ -]?0*"
WORDS = {
    "pre": rf"pre{END}|before|baseline|{VISIT}1",
    "post": rf"(?:post|mid){END}|after|follow[ -]?up|{VISIT}2",
}
TIME = {
    time: re.compile(rf"(?i)(?<![a-z0-9])(?:{words})(?![0-9])")
    for time, words in WORDS.items()
}
LEAST_CORRELATION = 0.8
"""Of one sequence at two times, in the body, from which on their headers are taken to
agree. Two real sessions of one head reach 0.3 by header, 0.9 when registered."""


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """One patient's volumes."""

    name: str
    volumes: Mapping[str, Path]
    """All four roles."""

    body: Path | None = None
    """A mask in the common space that lesions must lie in; of the brain, for one."""

    transforms: Mapping[str, Transform] = field(default_factory=dict)
    """From RAS mm of the common space to RAS mm of each role's own."""


def find_anatomies(folder: Path) -> tuple[list[Anatomy], list[str]]:
    """Return a folder's patients, and a sentence on each that cannot serve.

    Raises
    ------
    CohortError
        If there is none, or two files of a patient are the same.
    """
    if not folder.is_dir():
        raise CohortError(f"{folder.name} is no folder: give one of patients' volumes.")
    found: list[Anatomy] = []
    notes = []
    for name, files, body, dicom in _patients(folder):
        volumes = _completed(files)
        lacking = _lacking(volumes)
        if lacking:
            notes.append(f"{name} has no {' and no '.join(lacking)}: it is left out.")
        else:
            found.append(Anatomy(name=name, volumes=volumes, body=body))
        if dicom:
            notes.append(
                f"DICOM series of {name} are not read here: import them first, with "
                "`harm3 import`."
            )
    if not found:
        told = f" ({' '.join(notes[:2])})" if notes else ""
        raise CohortError(
            f"{folder.name} holds no patient with T1 and T2{told}: name volumes like "
            "pre/t1.nii.gz and post/t2.nii.gz in a folder for each patient, or add a "
            "cohort.csv (see `harm3 import`)."
        )
    return found, notes


@contextmanager
def naming(anatomy: Anatomy) -> Iterator[None]:
    """Name the patient in a `VolumeError`: several may have a file of one name."""
    try:
        yield
    except VolumeError as error:
        raise VolumeError(f"{anatomy.name}: {error}") from error


def laid_together(anatomy: Anatomy) -> Anatomy:
    """Return a patient with the transforms of a space that all volumes share.

    Taken from ITK's files beside the volumes, or else from their headers if these
    agree, or else found by registration.

    Raises
    ------
    VolumeError
        If a volume or a transform cannot be read, or nothing lays them together;
        naming the patient.
    """
    with naming(anatomy):
        chains = {role: chain_of(path) for role, path in anatomy.volumes.items()}
        spaces = {None if chain is None else chain.space for chain in chains.values()}
        if len(spaces) == 1 and None not in spaces:
            found = {role: chain.matrix for role, chain in chains.items() if chain}
        else:
            found = _by_voxels(anatomy.volumes)
    return replace(anatomy, transforms=found)


def _by_voxels(files: Mapping[str, Path]) -> dict[str, Transform]:
    read = {path: read_volume(path) for path in set(files.values())}
    volumes = {role: read[path] for role, path in files.items()}
    straight = {role: np.eye(4) for role in ROLES}
    if all(
        _headers_agree(volumes[f"{s}_pre"], volumes[f"{s}_post"]) for s in SEQUENCES
    ):
        return straight
    steps = {}
    for role, onto in alignment_plan(ROLES):
        try:
            same = PARTS[role][0] == PARTS[onto][0]
            found = register(volumes[role], volumes[onto], same_sequence=same)
        except VolumeError as error:
            raise VolumeError(
                "The headers do not lay pre and post on each other, and there is no "
                f"transform beside them (*_to_*.txt). {error}"
            ) from error
        if found.poor:
            raise VolumeError(
                f"{found.message} Put ITK transforms beside the volumes "
                "(*_to_*.txt), or take the patient out."
            )
        steps[role] = onto, found
    return straight | Alignment(steps=steps).transforms


def _headers_agree(pre: Volume, post: Volume) -> bool:
    if pre is post:
        return True
    lattice = lattice_of(pre)
    one, other = (resample(v.array, v, lattice) for v in (pre, post))
    body = foreground(one)
    if not body.any() or np.ptp(one[body]) == 0 or np.ptp(other[body]) == 0:
        return False
    return bool(np.corrcoef(one[body], other[body])[0, 1] >= LEAST_CORRELATION)


def _completed(files: Mapping[str, Path]) -> dict[str, Path]:
    """Let a patient with one time point serve for both."""
    for time in TIMES:
        if set(files) == {f"{sequence}_{time}" for sequence in SEQUENCES}:
            return {role: files[f"{s}_{time}"] for role, (s, _) in PARTS.items()}
    return dict(files)


def _lacking(volumes: Mapping[str, Path]) -> list[str]:
    """Return what a patient lacks: a sequence, or else volumes of one time point."""
    absent = [
        sequence.upper()
        for sequence in SEQUENCES
        if not any(f"{sequence}_{time}" in volumes for time in TIMES)
    ]
    return absent or [role for role in ROLES if role not in volumes]


def _patients(folder: Path) -> list[tuple[str, dict[str, Path], Path | None, bool]]:
    """Return name, volumes, body mask, and whether DICOM lies there, of each."""
    table = folder / TABLE
    if table.exists():
        cases = read_cohort(table).cases
        return [(case.case_id, dict(case.volumes), None, False) for case in cases]
    inner = sorted(p for p in folder.iterdir() if p.is_dir())
    if inner and all(_time(p.name) for p in inner):  # one patient's time points
        groups = [(folder, sorted(folder.rglob("*")))]
    else:
        groups = [(folder, sorted(folder.iterdir()))]
        groups += [(p, sorted(p.rglob("*"))) for p in inner]
    patients = []
    for at, files in groups:
        roles, body = _roles(at, [f for f in files if f.name.endswith(SUFFIXES)])
        dicom = any(is_dicom(file) for file in files if file.is_file())
        if roles or dicom:
            patients.append((at.resolve().name, roles, body, dicom))
    return patients


def _roles(folder: Path, files: Sequence[Path]) -> tuple[dict[str, Path], Path | None]:
    roles: dict[str, Path] = {}
    body = None
    for file in files:
        words = file.relative_to(folder).as_posix().replace("_", " ")
        if BODY.search(words):
            body = file
        sequence = SEQUENCE.search(file.name.replace("_", " "))
        if OTHER.search(f" {words}") or sequence is None:
            continue
        role = f"t{sequence[1]}_{_time(words) or 'pre'}"
        if role in roles:
            raise CohortError(
                f"{roles[role].name} and {file.name} of {folder.resolve().name} both "
                f"seem to be {role}: take one away, or add a cohort.csv."
            )
        roles[role] = file
    return roles, body


def _time(words: str) -> str | None:
    found = [
        (match.start(), time)
        for time, pattern in TIME.items()
        for match in pattern.finditer(words.replace("_", " "))
    ]
    return max(found)[1] if found else None
