"""A hospital's DICOM folder: which series is which, as a table that a person edits.

Nothing in the proposal names a person: patients are numbered, dates are days since the
first study, and a series is known by a fingerprint. No free text of a header is in it.
"""

import csv
import hashlib
import io
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_harm3.artifacts import write_text
from napari_harm3.cohort.case import ROLES, SEQUENCES, TIMES
from napari_harm3.cohort.importers.edits import check_masks, read_edits
from napari_harm3.cohort.importers.listing import few
from napari_harm3.cohort.importers.parts import SPLIT, split_parts
from napari_harm3.cohort.rows import MASKS
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
    split: bool
    """Whether its series has slices, in another part, that it lacks."""

    roles: tuple[str, ...] = ()
    why: str = ""


def find_series(series: Sequence[SeriesInfo], source: Path) -> list[Found]:
    """Return the series numbered by patient and date; no role is proposed yet.

    The order is that of the files' paths, so that the same folder gives the same
    numbers again.
    """
    split = split_parts(series)
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
                    split=info in split,
                )
            )
    return found


def propose(found: Sequence[Found]) -> None:
    """Give each patient's series the roles that they seem to have, and say why."""
    for _, members in itertools.groupby(found, key=lambda one: one.patient):
        series = list(members)
        times = _times(series)
        for one in series:
            one.why = one.info.fault or ""
        for sequence in SEQUENCES:
            _choose(series, sequence, times)
        _tie_annotations(series)


def _times(series: Sequence[Found]) -> dict[int, str]:
    """Return pre for the first day with a useful series, and post for the last."""
    useful = [one for one in series if _image(one) and not _unfit(one)]
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
        reason = _unfit(one) or _untimed(one, times) or _broken(one)
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


def _unfit(one: Found) -> str:
    """Return why a series was not made to be one of the four, or nothing."""
    info = one.info
    if info.localizer or (info.slices < FEWEST_SLICES and not one.split):
        return f"a localiser, {info.slices} slices"
    if info.sequence is None:
        return info.sequence_reason
    if info.sequence == "t2" and (info.inversion_ms or 0) >= FLUID_INVERSION_MS:
        return "a FLAIR by its inversion time"
    return ""


def _broken(one: Found) -> str:
    """Return why a series makes no volume, or not the whole one, or nothing."""
    return SPLIT if one.split else one.info.fault or ""


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
    """Tie contours and segmentations to the volumes of their frame of reference.

    Of several in one frame none is tied: a volume has one mask, and which is meant, or
    whether they belong together, only a person knows.
    """
    drawn = [one for one in series if one.info.modality in ANNOTATIONS]
    frames = Counter(one.info.frame_of_reference for one in drawn)
    for one in drawn:
        frame = one.info.frame_of_reference
        roles = tuple(
            f"mask_{role}"
            for other in series
            for role in other.roles
            if _image(other) and frame and other.info.frame_of_reference == frame
        )
        if not roles:
            one.why = "no chosen volume has its frame of reference"
        elif frames[frame] > 1:
            one.why = (
                f"{frames[frame]} annotations share its frame of reference: write "
                f"{';'.join(roles)} for the one you mean, or export them as one"
            )
        else:
            one.roles, one.why = roles, "same frame of reference"


def mismatches(found: Sequence[Found]) -> list[str]:
    """Return what is odd about the chosen series, or was left out: sentences."""
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
    for _, members in itertools.groupby(found, key=lambda one: one.case_id):
        told += _left_out(list(members))
    return told


def _left_out(members: Sequence[Found]) -> list[str]:
    """Return why annotations and broken series have no role; if none has, why each."""
    none = not any(one.roles for one in members)
    numbers: dict[str, list[str]] = defaultdict(list)
    for one in members:
        broken = _image(one) and one.why == _broken(one)
        told = none or broken or one.info.modality in ANNOTATIONS
        if told and one.why and not one.roles:
            numbers[one.why.removesuffix(".")].append(str(one.number))
    return [
        f"{members[0].case_id}: series {few(series)} left out: {why}."
        for why, series in numbers.items()
    ]


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
        twice, a role or a case id is none, two series of a case have one role, or a
        mask has no volume.
    """
    by_print = {one.fingerprint: one for one in found}
    for one in found:
        one.roles = ()
    edits = read_edits(path)
    for edit in edits:
        chosen = by_print.get(edit.fingerprint)
        if chosen is None:
            raise CohortError(
                f"{path.name}, row {edit.number}: this series is not in the folder as "
                "it was proposed: propose anew."
            )
        for role in edit.roles:
            _check_role(path, edit.number, chosen, role)
        chosen.case_id, chosen.roles = edit.case_id, edit.roles
    check_masks(path, edits)
    return list(found)


def _check_role(path: Path, number: int, one: Found, role: str) -> None:
    fits = MASKS if one.info.modality in ANNOTATIONS else ROLES
    if role not in fits:
        raise CohortError(
            f"{path.name}, row {number}: '{role}' is no role of such a series: write "
            f"{', '.join(fits)} or leave it blank."
        )


def _paths(info: SeriesInfo, source: Path) -> list[str]:
    return sorted(file.relative_to(source).as_posix() for file in info.files)


def _fingerprint(info: SeriesInfo, source: Path) -> str:
    """Return what tells that a series is the one that was proposed."""
    known = [info.uid, *_paths(info, source), *map(str, info.frames)]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]
