"""A proposal as a person edited it: which series has which role in which case."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from napari_harm3.cohort.rows import CASE_ID
from napari_harm3.cohort.text_table import read_named_rows
from napari_harm3.errors import CohortError

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A row that gives a series its roles."""

    number: int
    """As a person counts: the header is row 1."""

    fingerprint: str
    case_id: str
    roles: tuple[str, ...]


def read_edits(path: Path) -> list[Edit]:
    """Return the rows of a proposal that have a role.

    Raises
    ------
    CohortError
        If the table cannot be read, a case id is none, a series stands twice, or two
        series of a case have one role.
    """
    edits = []
    series: dict[str, int] = {}
    cells: dict[tuple[str, str], int] = {}
    header, rows = read_named_rows(path)
    if not {"case_id", "role", "fingerprint"} <= {*header}:
        raise CohortError(
            f"{path.name} is no proposal: it needs case_id, role and fingerprint. "
            "Make one with `harm3 import dicom`."
        )
    for number, row in rows:
        roles = tuple(filter(None, (r.strip() for r in row["role"].split(";"))))
        if not roles:
            continue
        case_id, fingerprint = row["case_id"], row["fingerprint"]
        if not CASE_ID.fullmatch(case_id):
            raise CohortError(f"{path.name}, row {number}: '{case_id}' is no case id.")
        told = "are one series: keep one row, with a ; between its roles."
        _once(path, series, fingerprint, number, told)
        for role in roles:
            told = f"both are {role} of {case_id}: keep one."
            _once(path, cells, (case_id, role), number, told)
        edit = Edit(
            number=number, fingerprint=fingerprint, case_id=case_id, roles=roles
        )
        edits.append(edit)
    return edits


def check_masks(path: Path, edits: Sequence[Edit]) -> None:
    """Refuse a mask of a volume that no series is.

    Raises
    ------
    CohortError
        Naming its row.
    """
    cells = {(edit.case_id, role) for edit in edits for role in edit.roles}
    for edit in edits:
        for role in edit.roles:
            volume = role.removeprefix("mask_")
            if (edit.case_id, volume) not in cells:
                raise CohortError(
                    f"{path.name}, row {edit.number}: {role} of {edit.case_id} has no "
                    f"volume: give a series of {edit.case_id} the role {volume}, or "
                    "leave this one blank."
                )


def _once(path: Path, taken: dict[Key, int], what: Key, number: int, both: str) -> None:
    first = taken.setdefault(what, number)
    if first != number:
        raise CohortError(f"{path.name}, rows {first} and {number} {both}")
