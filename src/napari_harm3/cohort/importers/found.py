"""The series of a hospital's folder, numbered by patient and date."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_harm3.cohort.importers.parts import split_parts
from napari_harm3.mri.series import Patient, SeriesInfo

ANNOTATIONS = ("RTSTRUCT", "SEG")
RECORDED = ("plane", "fat_saturation", "field_tesla")
"""What should be alike before and after treatment."""

FIELD_SHARE = 0.1
"""By how much two field strengths of one kind may differ: 1.494 T is 1.5 T."""


@dataclass(kw_only=True)
class Found:
    """One series of one patient, and the role proposed for it."""

    info: SeriesInfo
    case_id: str
    patient: int
    number: int
    days: int | None
    fingerprint: str
    split: bool
    """Whether its series has slices, in another part, that it lacks."""

    roles: tuple[str, ...] = ()
    why: str = ""

    @property
    def image(self) -> bool:
        """Whether it may become a volume."""
        return self.info.modality == "MR"


def find_series(series: Sequence[SeriesInfo], source: Path) -> list[Found]:
    """Return the series numbered by patient and date; no role is proposed yet.

    The order is that of the files' paths, so that the same folder gives the same
    numbers again.
    """
    split = split_parts(series)
    found = []
    ordered = sorted(series, key=lambda info: _paths(info, source))
    for patient, members in enumerate(_people(ordered), start=1):
        dates = [info.study_date for info in members if info.study_date is not None]
        members.sort(key=lambda i: (i.study_date is None, str(i.study_date)))
        for number, info in enumerate(members, start=1):
            day = info.study_date
            found.append(
                Found(
                    info=info,
                    case_id=f"P{patient:03d}",
                    patient=patient,
                    number=number,
                    days=None if day is None else (day - min(dates)).days,
                    fingerprint=_fingerprint(info, source),
                    split=info in split,
                )
            )
    return found


def _people(series: Sequence[SeriesInfo]) -> list[list[SeriesInfo]]:
    """Return the series of each person; an anonymiser may give many one id."""
    by_id: dict[str, set[Patient]] = defaultdict(set)
    for info in series:
        by_id[info.patient.key].add(info.patient)
    people: dict[tuple[str, ...], list[SeriesInfo]] = defaultdict(list)
    for info in series:
        people[_person(info.patient, by_id[info.patient.key])].append(info)
    return list(people.values())


def _person(patient: Patient, alike: set[Patient]) -> tuple[str, ...]:
    """Return what tells a person from others of one id: birth date and sex, if stated.

    What a series leaves blank is as the others say, where they agree.
    """
    told = [patient.key]
    for name in ("birth_date", "sex"):
        stated = {getattr(one, name) for one in alike} - {""}
        told.append(stated.pop() if len(stated) == 1 else getattr(patient, name))
    return tuple(told)


def differences(first: SeriesInfo, second: SeriesInfo) -> list[str]:
    """Return what should be alike in two series and is not, in words."""
    unlike = []
    for name in RECORDED:
        one, other = getattr(first, name), getattr(second, name)
        if None not in (one, other) and not _alike(one, other):
            unlike.append(f"{name.replace('_', ' ')} {plain(one)} and {plain(other)}")
    return unlike


def _alike(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= FIELD_SHARE * max(one, other)
    return one == other


def plain(value: object) -> str:
    """Return what a series says of itself as a cell of a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _paths(info: SeriesInfo, source: Path) -> list[str]:
    return sorted(file.relative_to(source).as_posix() for file in info.files)


def _fingerprint(info: SeriesInfo, source: Path) -> str:
    """Return what tells that a series is the one that was proposed."""
    known = [info.uid, *_paths(info, source), *map(str, info.frames)]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]
