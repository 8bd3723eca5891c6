"""A hospital's DICOM folder: which series is which, as a table that a person edits.

Nothing in the proposal names a person: patients are numbered, dates are days since the
first study, and a series is known by a fingerprint. No free text of a header is in it.
"""

import csv
import hashlib
import io
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_harm3.artifacts import write_text
from napari_harm3.cohort.case import ROLES, SEQUENCES, TIMES
from napari_harm3.cohort.table import CASE_ID, MASKS
from napari_harm3.errors import CohortError
from napari_harm3.mri.series import FLUID_INVERSION_MS, SeriesInfo

COLUMNS = (
    "case_id",
    "patient",
    "series",
    "role",
    "why",
    "days",
    "modality",
    "sequence",
    "contrast",
    "plane",
    "fat_saturation",
    "field_tesla",
    "echo_ms",
    "repetition_ms",
    "inversion_ms",
    "slices",
    "spacing_mm",
    "fingerprint",
)
ANNOTATIONS = ("RTSTRUCT", "SEG")
FEWEST_SLICES = 8
"""A series of fewer slices is a localiser, or of no use."""

AGENT = {
    True: "with contrast agent",
    False: "WITHOUT contrast agent",
    None: "contrast agent not stated",
}

RECORDED = ("plane", "fat_saturation", "field_tesla")
"""What should be alike before and after treatment."""


@dataclass(kw_only=True)
class Found:
    """One series of one patient, and the role proposed for it."""

    info: SeriesInfo
    case_id: str
    patient: int
    number: int
    days: int | None
    fingerprint: str
    roles: tuple[str, ...] = ()
    why: str = ""


def find_series(series: Sequence[SeriesInfo], source: Path) -> list[Found]:
    """Return the series numbered by patient and date; no role is proposed yet.

    The order is that of the files' paths, so that the same folder gives the same
    numbers again.
    """
    patients: dict[str, list[SeriesInfo]] = defaultdict(list)
    for info in sorted(series, key=lambda info: _paths(info, source)):
        patients[info.patient_key].append(info)
    found = []
    for patient, members in enumerate(patients.values(), start=1):
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
                )
            )
    return found


def propose(found: Sequence[Found]) -> None:
    """Give each patient's series the roles that they seem to have, and say why."""
    for _, members in itertools.groupby(found, key=lambda one: one.patient):
        series = list(members)
        times = _times(series)
        for sequence in SEQUENCES:
            _choose(series, sequence, times)
        _tie_annotations(series)


def _times(series: Sequence[Found]) -> dict[int, str]:
    """Return pre for the first day with a useful series, and post for the last."""
    useful = [one for one in series if _image(one) and not _unfit(one.info)]
    days = sorted({one.days for one in useful if one.days is not None})
    if not days:
        return {}
    return {days[0]: "pre"} | ({days[-1]: "post"} if len(days) > 1 else {})


def _choose(series: Sequence[Found], sequence: str, times: Mapping[int, str]) -> None:
    """Take the pair of series before and after that fits together best."""
    offered: dict[str, list[Found]] = {time: [] for time in TIMES}
    for one in series:
        if one.roles or not _image(one):
            continue
        reason = _unfit(one.info) or _untimed(one, times)
        if reason:
            one.why = reason
        elif one.info.sequence == sequence and one.days is not None:
            offered[times[one.days]].append(one)
    choices: list[Sequence[Found | None]] = [offered[t] or [None] for t in TIMES]
    pairs = itertools.product(*choices)
    best = max(pairs, key=lambda pair: _fit(sequence, pair))
    for time, chosen in zip(TIMES, best, strict=True):
        for other in offered[time]:
            other.why = f"another series fits {sequence}_{time} better"
        if chosen is not None:
            chosen.roles = (f"{sequence}_{time}",)
            chosen.why = _because(chosen, sequence, time, len(offered[time]))


def _image(one: Found) -> bool:
    return one.info.modality == "MR"


def _unfit(info: SeriesInfo) -> str:
    """Return why a series cannot be one of the four, or nothing."""
    if info.localizer or info.slices < FEWEST_SLICES:
        return f"a localiser, {info.slices} slices"
    if info.fault is not None:
        return info.fault
    if info.sequence is None:
        return info.sequence_reason
    if info.sequence == "t2" and (info.inversion_ms or 0) >= FLUID_INVERSION_MS:
        return "a FLAIR by its inversion time"
    return ""


def _untimed(one: Found, times: Mapping[int, str]) -> str:
    """Return why a series is neither before nor after, or nothing."""
    if one.days is None:
        return "no date"
    return "" if one.days in times else "neither the first study nor the last"


def _fit(
    sequence: str, pair: Sequence[Found | None]
) -> tuple[int, int, int, float, int]:
    """Rank a pair: contrast for t1, likeness, axial, fine voxels, many slices."""
    there = [one.info for one in pair if one is not None]
    enhanced = sum(info.contrast is True for info in there) if sequence == "t1" else 0
    unlike = len(_differences(*there)) if len(there) == 2 else 0
    tilted = sum(info.plane != "axial" for info in there)
    voxels = sum(math.prod(info.spacing_mm or (0.0,)) for info in there)
    return enhanced, -unlike, -tilted, -voxels, sum(info.slices for info in there)


def _because(one: Found, sequence: str, time: str, count: int) -> str:
    when = "first" if time == "pre" else "last"
    parts = [f"{sequence.upper()} of the {when} study"]
    if sequence == "t1":
        parts.append(AGENT[one.info.contrast])
    if count > 1:
        parts.append(f"the best of {count}")
    return ", ".join(parts)


def _differences(first: SeriesInfo, second: SeriesInfo) -> list[str]:
    """Return what should be alike in two series and is not, in words."""
    unlike = []
    for name in RECORDED:
        one, other = getattr(first, name), getattr(second, name)
        if None not in (one, other) and one != other:
            unlike.append(f"{name.replace('_', ' ')} {_text(one)} and {_text(other)}")
    return unlike


def _tie_annotations(series: Sequence[Found]) -> None:
    """Tie contours and segmentations to the volumes of their frame of reference."""
    for one in series:
        if one.info.modality in ANNOTATIONS:
            frame = one.info.frame_of_reference
            one.roles = tuple(
                f"mask_{role}"
                for other in series
                for role in other.roles
                if _image(other) and frame and other.info.frame_of_reference == frame
            )
            one.why = (
                "same frame of reference"
                if one.roles
                else "no chosen volume has its frame of reference"
            )


def mismatches(found: Iterable[Found]) -> list[str]:
    """Return what is odd about the chosen pairs: one sentence each."""
    by_case: dict[str, dict[str, Found]] = defaultdict(dict)
    for one in found:
        by_case[one.case_id] |= {role: one for role in one.roles if role in ROLES}
    told = []
    for case_id, chosen in by_case.items():
        for sequence in SEQUENCES:
            pair = [chosen.get(f"{sequence}_{time}") for time in TIMES]
            infos = [one.info for one in pair if one is not None]
            if len(infos) == 2 and (unlike := _differences(*infos)):
                told.append(
                    f"{case_id}: {sequence} before and after treatment differ in "
                    f"{', '.join(unlike)}."
                )
            if sequence == "t1" and any(info.contrast is not True for info in infos):
                told.append(
                    f"{case_id}: a t1 does not say that contrast agent was given."
                )
        if chosen and not any(role.endswith("_post") for role in chosen):
            told.append(f"{case_id}: no study after the first one.")
    return told


def write_proposal(path: Path, found: Sequence[Found], *, keep_dates: bool) -> None:
    """Write the table that a person edits: the column ``role`` is theirs."""
    columns = [*COLUMNS, *(["date"] if keep_dates else [])]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\r\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(_row(one) for one in found)
    write_text(path, text.getvalue())


def _row(one: Found) -> dict[str, str]:
    info = one.info
    told = COLUMNS if _image(one) else ()
    values = {name: getattr(info, name, None) for name in told}
    values |= {
        "modality": info.modality,
        "case_id": one.case_id,
        "patient": one.patient,
        "series": one.number,
        "role": ";".join(one.roles),
        "why": one.why,
        "days": one.days,
        "spacing_mm": " x ".join(f"{mm:.3g}" for mm in info.spacing_mm or ()),
        "fingerprint": one.fingerprint,
        "date": info.study_date,
    }
    return {name: _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def apply_proposal(path: Path, found: Sequence[Found]) -> list[Found]:
    """Return the series with the case ids and roles of an edited proposal.

    Raises
    ------
    CohortError
        If the table cannot be read, the folder has changed since, a series stands
        twice, a role or a case id is none, or two series of a case have one role.
    """
    by_print = {one.fingerprint: one for one in found}
    for one in found:
        one.roles = ()
    taken: dict[tuple[str, ...], int] = {}
    for number, row in enumerate(_read(path), start=2):
        chosen = by_print.get(row["fingerprint"])
        roles = tuple(filter(None, (r.strip() for r in row["role"].split(";"))))
        if not roles:
            continue
        if chosen is None:
            raise CohortError(
                f"{path.name}, row {number}: this series is not in the folder as it "
                "was proposed: propose anew."
            )
        if not CASE_ID.fullmatch(row["case_id"]):
            raise CohortError(
                f"{path.name}, row {number}: '{row['case_id']}' is no case id."
            )
        series = "are one series: keep one row, with a ; between its roles."
        _once(path, taken, (chosen.fingerprint,), number, series)
        for role in roles:
            _check_role(path, number, chosen, role)
            cell = f"both are {role} of {row['case_id']}: keep one."
            _once(path, taken, (row["case_id"], role), number, cell)
        chosen.case_id, chosen.roles = row["case_id"], roles
    return list(found)


def _once(
    path: Path,
    taken: dict[tuple[str, ...], int],
    what: tuple[str, ...],
    number: int,
    both: str,
) -> None:
    first = taken.setdefault(what, number)
    if first != number:
        raise CohortError(f"{path.name}, rows {first} and {number} {both}")


def _check_role(path: Path, number: int, one: Found, role: str) -> None:
    fits = MASKS if one.info.modality in ANNOTATIONS else ROLES
    if role not in fits:
        raise CohortError(
            f"{path.name}, row {number}: '{role}' is no role of such a series: write "
            f"{', '.join(fits)} or leave it blank."
        )


def _read(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), restval=""))
    except OSError as error:
        raise CohortError(f"{path.name} cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CohortError(f"{path.name} is no CSV table of UTF-8 text.") from error
    if not rows or not {"case_id", "role", "fingerprint"} <= rows[0].keys():
        raise CohortError(
            f"{path.name} is no proposal: it needs case_id, role and fingerprint. "
            "Make one with `harm3 import dicom`."
        )
    return rows


def _paths(info: SeriesInfo, source: Path) -> list[str]:
    return sorted(file.relative_to(source).as_posix() for file in info.files)


def _fingerprint(info: SeriesInfo, source: Path) -> str:
    """Return what tells that a series is the one that was proposed."""
    known = [info.uid, *_paths(info, source), *map(str, info.frames)]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]
