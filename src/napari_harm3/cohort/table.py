"""The cohort table, ``cohort.csv``: read whole, checked whole."""

import csv
import difflib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

from napari_harm3.artifacts import write_json, write_text
from napari_harm3.cohort.case import ROLES, Case
from napari_harm3.cohort.splits import tested_and_fitted
from napari_harm3.errors import CohortError

MASKS = tuple(f"mask_{role}" for role in ROLES)
FILE_COLUMNS = (*ROLES, *MASKS, "wsi")
KNOWN = ("case_id", *FILE_COLUMNS, "pcr", "fold", "split", "mpp")
DATES = ("date_pre", "date_post", "date_surgery", "wsi_date", "treatment_start")
CASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
Value = TypeVar("Value")
SPLITS = {"train": "train", "test": "test"}
NO_CONTRAST = {"0", "no", "none", "false", "without"}


@dataclass(frozen=True)
class Fault:
    """Something in a cohort that must be put right, or is worth a look."""

    row: int | None
    """Row of the table, the header being 1; None for the whole table."""

    column: str | None
    message: str


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
        first = faults[0]
        where = "" if first.row is None else f", row {first.row}"
        where += "" if first.column is None else f", column {first.column}"
        more = len(faults) - 1
        rest = f" ({more} more: run `harm3 check`.)" if more else ""
        raise CohortError(f"{path.name}{where}: {first.message}{rest}")
    return cohort


def scan_cohort(
    path: Path, *, allow_external: bool = False
) -> tuple[Cohort, list[Fault]]:
    """Return what can be read of a table, and every fault of its form.

    Parameters
    ----------
    path
        The table: UTF-8, RFC 4180, a header in row 1.
    allow_external
        Accept paths that leave the table's folder, links resolved.

    Raises
    ------
    CohortError
        If the file is no such table at all.
    """
    header, rows = _parse(path)
    reader = _RowReader(path.parent, header, allow_external=allow_external)
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
        warnings=tuple(reader.warnings),
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
        if not _inside(file, cohort.folder)
    ]


def missing_files(cohort: Cohort) -> list[Fault]:
    """Return a fault for every file that the table names and that is not there."""
    nothing = "does not exist, or is a link that leads nowhere: correct the path."
    return [
        Fault(case.row, column, f"{file.name} {nothing}")
        for case in cohort.cases
        for column, file in case.files
        if not file.exists()
    ]


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
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\r\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    about = {
        "name": name,
        "pcr": pcr_meaning,
        "deidentified": deidentified,
        "made_up": made_up,
    }
    write_json(path.with_suffix(".json"), about)
    write_text(path, text.getvalue())


def _parse(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header and the rows that are not blank, with their numbers."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except OSError as error:
        raise CohortError(
            f"{path.name} cannot be read ({error.strerror}): check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise CohortError(
            f"{path.name} is not UTF-8 text (byte {error.start}): save it as CSV UTF-8."
        ) from error
    except csv.Error as error:
        raise CohortError(f"{path.name} is not a CSV table: {error}.") from error
    if not table or "case_id" not in [cell.strip() for cell in table[0]]:
        raise CohortError(
            f"{path.name} has no column 'case_id' in its first row: is it a "
            "cohort table?"
        )
    rows = [(n, row) for n, row in enumerate(table[1:], start=2) if any(row)]
    return [cell.strip() for cell in table[0]], rows


def _metadata(path: Path) -> dict[str, object]:
    about = path.with_suffix(".json")
    if not about.exists():
        return {}
    try:
        meta = json.loads(about.read_text(encoding="utf-8"))
    except OSError as error:
        raise CohortError(f"{about.name} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise CohortError(f"{about.name} is not JSON: {error}.") from error
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


@dataclass
class _RowReader:
    """Turn rows into cases, and gather what is wrong on the way."""

    folder: Path
    header: Sequence[str]
    allow_external: bool = field(kw_only=True)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def fault(self, row: int | None, column: str | None, message: str) -> None:
        self.faults.append(Fault(row, column, message))

    def case(self, number: int, cells: Sequence[str]) -> Case:
        if len(cells) != len(self.header):
            self.fault(
                number,
                None,
                f"The row has {len(cells)} cells and the header {len(self.header)}.",
            )
        row = {
            name: cell.strip()
            for name, cell in zip(self.header, cells, strict=False)
            if name
        }
        volumes = self._files(number, row, ROLES)
        masks = self._files(number, row, MASKS)
        for column in set(masks) - {f"mask_{role}" for role in volumes}:
            role = column.removeprefix("mask_")
            self.fault(number, column, f"An annotation of {role}, which is blank.")
        slides = self._slides(number, row)
        self._dates(number, row)
        return Case(
            case_id=self._case_id(number, row),
            row=number,
            volumes=volumes,
            masks={column.removeprefix("mask_"): p for column, p in masks.items()},
            slides=slides,
            slide_mpp=self._mpp(number, row, len(slides)),
            pcr=self._choice(number, row, "pcr", {"0": 0, "1": 1}),
            fold=self._fold(number, row),
            split=self._choice(number, row, "split", SPLITS),
            extra={k: v for k, v in row.items() if k not in KNOWN},
        )

    def _case_id(self, number: int, row: Mapping[str, str]) -> str:
        case_id = row.get("case_id", "")
        if not CASE_ID.fullmatch(case_id):
            self.fault(
                number,
                "case_id",
                f"'{case_id}' is no case id: letters, digits, _ and -, at most 64, "
                "beginning with a letter or digit.",
            )
        return case_id

    def _files(
        self, number: int, row: Mapping[str, str], columns: Iterable[str]
    ) -> dict[str, Path]:
        return {
            column: self._path(number, column, row[column])
            for column in columns
            if row.get(column)
        }

    def _slides(self, number: int, row: Mapping[str, str]) -> tuple[Path, ...]:
        cells = [cell.strip() for cell in row.get("wsi", "").split(";")]
        return tuple(self._path(number, "wsi", cell) for cell in cells if cell)

    def _path(self, number: int, column: str, cell: str) -> Path:
        if "\0" in cell:
            self.fault(number, column, "A path cannot hold a NUL character.")
            return self.folder
        path = self.folder / cell
        if not (self.allow_external or _inside(path, self.folder)):
            self.fault(
                number,
                column,
                f"'{Path(cell).name}' lies outside the table's folder: move it there, "
                "or add --allow-external.",
            )
        return path

    def _choice(
        self,
        number: int,
        row: Mapping[str, str],
        column: str,
        values: Mapping[str, Value],
    ) -> Value | None:
        cell = row.get(column, "")
        if cell and cell not in values:
            self.fault(number, column, f"'{cell}' is not {', '.join(values)} or blank.")
        return values.get(cell)

    def _fold(self, number: int, row: Mapping[str, str]) -> int | None:
        cell = row.get("fold", "")
        if cell and not re.fullmatch(r"[0-9]{1,3}", cell):
            self.fault(number, "fold", f"'{cell}' is no fold: a number, 0 to 999.")
            return None
        return int(cell) if cell else None

    def _mpp(
        self, number: int, row: Mapping[str, str], slides: int
    ) -> tuple[float | None, ...]:
        cells = [cell.strip() for cell in row.get("mpp", "").split(";")]
        if len(cells) == 1:
            cells *= max(slides, 1)
        elif len(cells) != slides:
            self.fault(number, "mpp", f"{len(cells)} values for {slides} slides.")
        values = [self._micrometres(number, cell) for cell in cells]
        return tuple((values + [None] * slides)[:slides])

    def _micrometres(self, number: int, cell: str) -> float | None:
        if not cell:
            return None
        try:
            value = float(cell)
        except ValueError:
            value = 0.0
        if 0.01 <= value <= 100:
            return value
        self.fault(number, "mpp", f"'{cell}' is no resolution in microns per pixel.")
        return None

    def _dates(self, number: int, row: Mapping[str, str]) -> None:
        days: dict[str, date] = {}
        for column in DATES:
            if row.get(column):
                try:
                    days[column] = date.fromisoformat(row[column])
                except ValueError:
                    self.fault(
                        number, column, f"'{row[column]}' is no YYYY-MM-DD date."
                    )
        if {"date_pre", "date_post"} <= days.keys() and (
            days["date_post"] <= days["date_pre"]
        ):
            self._warn(number, "date_post", "date_post is not after date_pre.")
        if {"wsi_date", "treatment_start"} <= days.keys() and (
            days["wsi_date"] > days["treatment_start"]
        ):
            self.fault(
                number,
                "wsi_date",
                "The slide was taken after treatment began; only the biopsy before it "
                "may be used, since a later specimen tells the label.",
            )
        contrast = row.get("contrast", "").lower()
        if contrast in NO_CONTRAST:
            self._warn(
                number, "contrast", "t1 must be contrast-enhanced; this says it is not."
            )

    def _warn(self, number: int, column: str, message: str) -> None:
        self.warnings.append(Fault(number, column, message))


def _inside(path: Path, folder: Path) -> bool:
    # A link that leads back to itself is left as it is; Path.resolve would raise.
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
