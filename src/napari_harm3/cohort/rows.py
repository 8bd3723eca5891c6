"""One row of the cohort table as a case, and what is wrong with its cells."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

from napari_harm3.cohort.case import ROLES, Case

MASKS = tuple(f"mask_{role}" for role in ROLES)
FILE_COLUMNS = (*ROLES, *MASKS, "wsi")
KNOWN = ("case_id", *FILE_COLUMNS, "pcr", "fold", "split", "mpp")
DATES = ("date_pre", "date_post", "date_surgery", "wsi_date", "treatment_start")
DAYS = "days_to_post"
"""Days from pre to post, where the dates themselves are not kept."""

MEANT = (*KNOWN, *DATES, DAYS, "contrast", "patient_id")
"""Columns that change what is done; any other is only kept."""

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


@dataclass
class RowReader:
    """Turn rows into cases, and gather what is wrong on the way."""

    folder: Path
    header: Sequence[str]
    allow_external: bool = field(kw_only=True)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def fault(self, row: int | None, column: str | None, message: str) -> None:
        """Keep what must be put right."""
        self.faults.append(Fault(row, column, message))

    def case(self, number: int, cells: Sequence[str]) -> Case:
        """Return the case of a row, as far as its cells can be read."""
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
        self._contrast(number, row)
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
        if not self.allow_external and leads_out(path, self.folder):
            self.fault(
                number,
                column,
                f"'{Path(cell).name}', or a link in it, leads outside the table's "
                "folder: move the files there, or add --allow-external.",
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
        if re.fullmatch(r"0|-[0-9]+", row.get(DAYS, "")):
            self._warn(number, DAYS, "post is not after pre: are they swapped?")
        if {"wsi_date", "treatment_start"} <= days.keys() and (
            days["wsi_date"] > days["treatment_start"]
        ):
            self.fault(
                number,
                "wsi_date",
                "The slide was taken after treatment began; only the biopsy before it "
                "may be used, since a later specimen tells the label.",
            )

    def _contrast(self, number: int, row: Mapping[str, str]) -> None:
        if row.get("contrast", "").lower() in NO_CONTRAST:
            self._warn(
                number, "contrast", "t1 must be contrast-enhanced; this says it is not."
            )

    def _warn(self, number: int, column: str, message: str) -> None:
        self.warnings.append(Fault(number, column, message))


def leads_out(path: Path, folder: Path) -> bool:
    """Return whether a path, or a link in the folder that it names, leaves a folder."""
    # A link that leads back to itself is left as it is; Path.resolve would raise.
    home = os.path.realpath(folder)
    return any(
        not Path(os.path.realpath(one)).is_relative_to(home)
        for one in (path, *_links(path))
    )


def _links(folder: Path) -> Iterator[Path]:
    """Yield the links in a folder, and in those in it; a file has none."""
    # What cannot be listed cannot be read either, and is told by who opens it.
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield Path(entry.path)
            elif entry.is_dir():
                yield from _links(Path(entry.path))
