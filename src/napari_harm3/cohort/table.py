"""The cohort table, ``cohort.csv``: read whole, checked whole."""

import difflib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_harm3.artifacts import write_csv, write_json
from napari_harm3.cohort.case import Case
from napari_harm3.cohort.rows import MEANT, Fault, RowReader, leads_out
from napari_harm3.cohort.splits import tested_and_fitted
from napari_harm3.cohort.text_table import read_rows
from napari_harm3.errors import CohortError, sentence

__all__ = [
    "Cohort",
    "Fault",
    "external_files",
    "missing_files",
    "read_cohort",
    "read_json",
    "scan_cohort",
    "write_cohort",
]

MISSPELT = 0.85
"""How like a known column's name another one must be to be taken for a slip."""


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The cases of a table, in its order."""

    path: Path
    cases: tuple[Case, ...]
    name: str
    made_up: bool = False
    """Whether the cohort was made by `harm3 phantom`."""

    warnings: tuple[Fault, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder that the table's paths are relative to."""
        return self.path.parent

    def case(self, case_id: str) -> Case:
        """Return a case.

        Raises
        ------
        CohortError
            If there is none of that name; similar names are offered.
        """
        by_id = {case.case_id: case for case in self.cases}
        if case_id in by_id:
            return by_id[case_id]
        near = difflib.get_close_matches(case_id, by_id, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "check its case_id."
        raise CohortError(f"{self.path.name} has no case '{case_id}': {hint}")


def read_cohort(path: Path, *, allow_external: bool = False) -> Cohort:
    """Return a cohort whose table is in order; its files are not opened.

    Raises
    ------
    CohortError
        Naming the first fault of the table and how many there are.
    """
    cohort, faults = scan_cohort(path, allow_external=allow_external)
    if faults:
        more = len(faults) - 1
        rest = f" ({more} more: run `harm3 check`.)" if more else ""
        raise CohortError(f"{_told(path, faults[0])}{rest}")
    return cohort


def table_faults(path: Path, *, allow_external: bool = False) -> list[str]:
    """Return a sentence for every fault of a table's form; none if it is no table."""
    try:
        _, faults = scan_cohort(path, allow_external=allow_external)
    except CohortError:
        return []
    return [_told(path, fault) for fault in faults]


def _told(path: Path, fault: Fault) -> str:
    where = "" if fault.row is None else f", row {fault.row}"
    where += "" if fault.column is None else f", column {fault.column}"
    return f"{path.name}{where}: {fault.message}"


def scan_cohort(
    path: Path, *, allow_external: bool = False
) -> tuple[Cohort, list[Fault]]:
    """Return what can be read of a table, and every fault of its form.

    Parameters
    ----------
    path
        The table: UTF-8, RFC 4180, a header in row 1; semicolons may part its cells.
    allow_external
        Accept paths that leave the table's folder, links resolved.

    Raises
    ------
    CohortError
        If the file is no such table at all.
    """
    header, rows = read_rows(path)
    if "case_id" not in header:
        raise CohortError(
            f"{path.name} has no column 'case_id' in its first row: is it a "
            "cohort table?"
        )
    reader = RowReader(path.parent, header, allow_external=allow_external)
    cases = [reader.case(number, row) for number, row in rows]
    reader.faults += _clashes(header, cases)
    if not cases:
        reader.fault(None, None, "The table has no cases.")
    meta = _metadata(path)
    cohort = Cohort(
        path=path,
        cases=tuple(cases),
        name=str(meta.get("name", path.parent.resolve().name)),
        made_up=meta.get("made_up") is True,
        warnings=(*_misspelt(header), *reader.warnings),
    )
    return cohort, sorted(reader.faults, key=lambda f: (f.row or 0, f.column or ""))


def external_files(path: Path) -> list[Path]:
    """Return the files that a table names outside its own folder, links resolved.

    Raises
    ------
    CohortError
        If the file is no such table at all.
    """
    cohort, _ = scan_cohort(path, allow_external=True)
    return [
        file
        for case in cohort.cases
        for _, file in case.files
        if leads_out(file, cohort.folder)
    ]


def missing_files(cohort: Cohort) -> list[Fault]:
    """Return a fault for every named file that is not there, and cases without any."""
    faults = []
    for case in cohort.cases:
        if not (case.volumes or case.slides):
            nothing = "The case has no volume and no slide: name one, or drop the row."
            faults.append(Fault(case.row, None, nothing))
        for column, file in case.files:
            absent = _absence(file)
            if absent:
                faults.append(Fault(case.row, column, absent))
    return faults


def _absence(file: Path) -> str:
    """Return why a file cannot be opened, or nothing."""
    try:
        there = file.exists()
    except OSError as error:
        return sentence(error)
    nothing = "does not exist, or is a link that leads nowhere: correct the path."
    return "" if there else f"{file.name} {nothing}"


def write_cohort(
    path: Path,
    rows: Sequence[Mapping[str, str]],
    *,
    name: str,
    made_up: bool = False,
    deidentified: bool = True,
    pcr_meaning: str = "ypT0N0: no viable tumour in primary and nodes at surgery",
) -> None:
    """Write ``cohort.json`` and then the table; columns are those of the rows."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    about = {
        "name": name,
        "pcr": pcr_meaning,
        "deidentified": deidentified,
        "made_up": made_up,
    }
    write_json(path.with_suffix(".json"), about)
    write_csv(path, rows, columns, lineterminator="\r\n")


def read_json(path: Path) -> Any:
    """Return what a JSON file beside a table says.

    Raises
    ------
    CohortError
        If it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CohortError(sentence(error, path.name)) from error
    except (ValueError, RecursionError) as error:
        raise CohortError(f"{path.name} is not JSON ({error}): correct it.") from error


def _metadata(path: Path) -> dict[str, object]:
    about = path.with_suffix(".json")
    meta = read_json(about) if about.exists() else {}
    return meta if isinstance(meta, dict) else {}


def _clashes(header: Sequence[str], cases: Sequence[Case]) -> list[Fault]:
    """Return what no cell shows alone: a name twice, a patient in both splits."""
    faults = [
        Fault(1, name, f"The column '{name}' stands {count} times: keep one.")
        for name, count in Counter(filter(None, header)).items()
        if count > 1
    ]
    first: dict[str, int] = {}
    for case in cases:
        row = first.setdefault(case.case_id, case.row)
        if case.case_id and row != case.row:
            faults.append(
                Fault(case.row, "case_id", f"'{case.case_id}' stands in row {row} too.")
            )
    for tested, fitted in tested_and_fitted(cases):
        leak = f"Row {fitted.row} fits the same patient: put both in one split."
        faults.append(Fault(tested.row, "split", leak))
    return faults


def _misspelt(header: Sequence[str]) -> list[Fault]:
    """Return a warning for every column that may be a known one by a wrong name."""
    absent = [name for name in MEANT if name not in header]
    found = []
    for name in header:
        near = difflib.get_close_matches(name.lower(), absent, n=1, cutoff=MISSPELT)
        if near and name not in MEANT:
            slip = f"'{name}' is no known column: call it {near[0]} if that is meant."
            found.append(Fault(1, name, slip))
    return found
