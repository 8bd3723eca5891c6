"""A hospital's DICOM folder: which series is which, as a table that a person edits.

Nothing in the proposal names a person: patients are numbered, dates are days since the
first study, and a series is known by a fingerprint. No free text of a header is in it.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from napari_harm3.artifacts import write_csv
from napari_harm3.cohort.case import ROLES, SEQUENCES, TIMES
from napari_harm3.cohort.importers.choice import broken
from napari_harm3.cohort.importers.edits import check_masks, read_edits
from napari_harm3.cohort.importers.found import ANNOTATIONS, Found, differences, plain
from napari_harm3.cohort.importers.listing import few
from napari_harm3.cohort.rows import MASKS
from napari_harm3.errors import CohortError
from napari_harm3.mri.series import SeriesInfo

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


def mismatches(found: Sequence[Found]) -> list[str]:
    """Return what is odd about the chosen series, or was left out: sentences."""
    by_case: dict[str, dict[str, Found]] = defaultdict(dict)
    for one in found:
        by_case[one.case_id] |= dict.fromkeys(one.roles, one)
    told = [told for case in by_case.items() for told in _odd(*case)]
    told += _shared_ids(found)
    for _, members in itertools.groupby(found, key=lambda one: one.case_id):
        told += _left_out(list(members))
    return told


def _odd(case_id: str, chosen: Mapping[str, Found]) -> list[str]:
    """Return what is odd about the series of a case."""
    told = []
    for sequence in SEQUENCES:
        pair = [chosen.get(f"{sequence}_{time}") for time in TIMES]
        infos = [one.info for one in pair if one is not None]
        if len(infos) == 2 and (unlike := differences(*infos)):
            told.append(
                f"{case_id}: {sequence} before and after treatment differ in "
                f"{', '.join(unlike)}."
            )
        if sequence == "t1" and any(info.contrast is not True for info in infos):
            told.append(f"{case_id}: a t1 does not say that contrast agent was given.")
    if len({one.info.patient.name for one in chosen.values()} - {""}) > 1:
        told.append(
            f"{case_id}: its series name their patient differently: make sure that "
            "they are of one person."
        )
    return told + _times(case_id, chosen)


def _times(case_id: str, chosen: Mapping[str, Found]) -> list[str]:
    """Return what is wrong about the days of the volumes of a case."""
    pre, post = (
        {
            one.info.study_date
            for role, one in chosen.items()
            if role in ROLES and role.endswith(time)
        }
        for time in TIMES
    )
    if pre and not post:
        return [f"{case_id}: no study after the first one."]
    dated = [day for day in pre if day], [day for day in post if day]
    if not all(dated) or max(dated[0]) < min(dated[1]):
        return []
    told = "what is after treatment was not taken later than what is before"
    return [f"{case_id}: {told}: are they swapped?"]


def _shared_ids(found: Sequence[Found]) -> list[str]:
    """Return which cases are of persons that only birth date or sex tells apart."""
    persons: dict[str, dict[int, str]] = defaultdict(dict)
    for one in found:
        if one.roles:
            persons[one.info.patient.key][one.patient] = one.case_id
    return [
        f"{few(dict.fromkeys(cases.values()))} have one patient id, but birth date or "
        "sex differ: they were taken for different persons."
        for cases in persons.values()
        if len({*cases.values()}) > 1
    ]


def _left_out(members: Sequence[Found]) -> list[str]:
    """Return why annotations and broken series have no role; if none has, why each."""
    none = not any(one.roles for one in members)
    numbers: dict[str, list[str]] = defaultdict(list)
    for one in members:
        whole = not one.image or one.why != broken(one)
        told = none or not whole or one.info.modality in ANNOTATIONS
        if told and one.why and not one.roles:
            numbers[one.why.removesuffix(".")].append(str(one.number))
    return [
        f"{members[0].case_id}: series {few(series)} left out: {why}."
        for why, series in numbers.items()
    ]


def write_proposal(path: Path, found: Sequence[Found], *, keep_dates: bool) -> None:
    """Write the table that a person edits: the column ``role`` is theirs."""
    columns = [*COLUMNS, *(["date"] if keep_dates else [])]
    write_csv(path, (_row(one) for one in found), columns, lineterminator="\r\n")


def _row(one: Found) -> dict[str, str]:
    info = one.info
    told = COLUMNS if one.image else ()
    values = {name: getattr(info, name, None) for name in told}
    values |= {
        "modality": info.modality,
        "case_id": one.case_id,
        "patient": one.patient,
        "series": one.number,
        "role": ";".join(one.roles),
        "why": _unnamed(info) if one.why == info.fault else one.why,
        "days": one.days,
        "spacing_mm": " x ".join(f"{mm:.3g}" for mm in info.spacing_mm or ()),
        "fingerprint": one.fingerprint,
        "date": info.study_date,
    }
    return {name: plain(value) for name, value in values.items()}


def _unnamed(info: SeriesInfo) -> str:
    """Return a fault that tells slices by their positions, not by their files.

    Whoever runs the import reads both; a file's name may be that of a person.
    """
    names = sorted((re.escape(file.name) for file in info.files), key=len, reverse=True)
    # A file may be called 28, which is no part of 28.00 mm.
    any_name = rf"(?<![\w.-])({'|'.join(names)})(?![\w-]|\.\d)"
    return re.sub(any_name, "a slice", info.fault or "")


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
