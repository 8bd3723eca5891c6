"""What every importer returns, and what they share: roles in words, cells, ids."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_harm3.cohort.rows import CASE_ID, FILE_COLUMNS, KNOWN
from napari_harm3.cohort.table import read_json
from napari_harm3.cohort.text_table import read_named_rows
from napari_harm3.errors import CohortError
from napari_harm3.mri.formats import VOLUME_SUFFIXES

Row = dict[str, str | Path]
"""A row of the table to be: files are absolute paths, all else is text."""

FEW = 3
"""How many names a message gives before it only counts."""

WORDS = {
    "pre": "pre before baseline bl prert pretreatment pretherapy tp0 initial staging",
    "post": "post after followup fu midrt postrt posttreatment posttherapy restaging",
    "t1": "t1 t1w t1c t1ce t1gd t1post t1contrast",
    "t2": "t2 t2w t2fs t2tse",
    "mask": "mask label seg dseg annotation",
}
"""Words that name a time, a sequence or an annotation, in lower case."""

RESERVED = {"case_id", *FILE_COLUMNS}
"""Columns that no clinical table may bring."""

KEYS = ("case_id", "id")
"""Columns by which a clinical table names its cases."""

YES_NO = {"yes": "1", "true": "1", "1.0": "1", "no": "0", "false": "0", "0.0": "0"}
BLANK = {"n/a", "na", "nan", "none", "null"}


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The rows that an importer found."""

    rows: list[Row]
    name: str
    """Name of the cohort."""

    notes: list[str] = field(default_factory=list)
    """What the user should know: what was guessed, left out or lacks."""


@dataclass
class Cells:
    """Files on their way into cells; two for one cell are refused, all at once."""

    prefer: Sequence[str] = ()
    """Words that choose among several files for one cell, the first ones first."""

    remedy: str = "keep one of them"
    _found: dict[tuple[str, str], list[Path]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, case: str, column: str, path: Path) -> None:
        """Offer a file for a cell."""
        self._found[case, column].append(path)

    def rows(self) -> dict[str, Row]:
        """Return the cells of each case.

        Raises
        ------
        CohortError
            If several files claim one cell, naming them.
        """
        rows: dict[str, Row] = defaultdict(dict)
        doubts = []
        for (case, column), paths in sorted(self._found.items()):
            left = preferred(paths, self.prefer)
            if len(left) > 1:
                names = " and ".join(sorted(path.name for path in left)[:FEW])
                doubts.append(f"{names} could both be {column} of {case}")
            rows[case][column] = left[0]
        if doubts:
            more = f" ({len(doubts) - 1} more like it)" if len(doubts) > 1 else ""
            raise CohortError(f"{doubts[0]}{more}: {self.remedy}.")
        return rows


def preferred(paths: Sequence[Path], words: Sequence[str]) -> list[Path]:
    """Return the files that the words leave: each keeps those whose name bears it."""
    left = list(paths)
    for word in words:
        left = [path for path in left if _bears(path, word)] or left
    return left


def _bears(path: Path, word: str) -> bool:
    """Return whether a word stands whole in a file's name or names a folder."""
    parts = [*path.parts[:-1], *stem(path.name).split("_")]
    return word in parts or word == path.name


def stem(name: str) -> str:
    """Return a volume's name without its suffix."""
    suffix = next((s for s in VOLUME_SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)] if suffix else name


def is_volume(path: Path) -> bool:
    """Return whether a file's name is a volume's; hidden ones are none."""
    return path.name.lower().endswith(VOLUME_SUFFIXES) and not path.name.startswith(".")


def meaning(word: str, among: Iterable[str], own: Mapping[str, str]) -> str | None:
    """Return which of some meanings (``pre``, ``t1``, ...) a word has, if any.

    Parameters
    ----------
    word
        As it stands in a name; case, ``-`` and ``_`` do not count.
    among
        Keys of `WORDS`.
    own
        The user's words, plain; they win.
    """
    plain = plain_word(word)
    choices = list(among)
    if own.get(plain) in choices:
        return own[plain]
    return next((key for key in choices if plain in WORDS[key].split()), None)


def plain_word(word: str) -> str:
    """Return a word without case, hyphens, underscores and blanks."""
    return re.sub(r"[-_ ]", "", word.lower())


def case_ids(names: Iterable[str]) -> dict[str, str]:
    """Return a case id for each name: what an id cannot hold becomes ``-``.

    Raises
    ------
    CohortError
        If two names become one, or one becomes nothing.
    """
    ids: dict[str, str] = {}
    for name in names:
        case_id = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:64]
        if not CASE_ID.fullmatch(case_id):
            raise CohortError(
                f"'{name}' holds no letter or digit to make a case id of: rename it."
            )
        if case_id in ids.values():
            raise CohortError(
                f"Two cases would be called '{case_id}', one of them '{name}': "
                "rename one."
            )
        ids[name] = case_id
    return ids


def read_clinical(path: Path, key: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the other columns of a CSV or TSV table by the case that its key names.

    ``n/a`` and its like become blank, and yes and no in ``pcr`` become 1 and 0.
    Columns that hold files in a cohort table are left out.

    Parameters
    ----------
    path
        The table, UTF-8, a header in its first row.
    key
        Names of the column that names the case; the first one there counts.

    Raises
    ------
    CohortError
        If the table cannot be read, has no such column or one twice, or two rows of a
        case differ.
    """
    header, rows = read_named_rows(path)
    _check_once(path, header)
    named = next((name for name in key if name in header), None)
    if named is None:
        raise CohortError(f"{path.name} has no column '{key[0]}' to name its rows by.")
    table: dict[str, dict[str, str]] = {}
    first: dict[str, int] = {}
    for number, row in rows:
        name = row.pop(named).strip()
        if not name:
            continue
        clean = _clean(row)
        if table.setdefault(name, clean) != clean:
            raise CohortError(
                f"{path.name}, rows {first[name]} and {number} say different things of "
                f"'{name}': keep one."
            )
        first.setdefault(name, number)
    return table


def _check_once(path: Path, header: Sequence[str]) -> None:
    names = Counter(map(_column, header))
    unread = {"", *RESERVED}
    twice = [name for name, n in names.items() if n > 1 and name not in unread]
    if twice:
        raise CohortError(f"{path.name} has two columns '{twice[0]}': keep one.")


def _column(head: str) -> str:
    """Return a heading as the cohort table has it: its own columns in lower case."""
    plain = head.strip().lower()
    return plain if plain in KNOWN else head.strip()


def _clean(row: Mapping[str, str]) -> dict[str, str]:
    clean = {}
    for head, cell in row.items():
        column = _column(head)
        if not column or column in RESERVED:
            continue
        value = "" if cell.strip().lower() in BLANK else cell.strip()
        if column in ("pcr", "fold"):
            value = YES_NO.get(value.lower(), value.removesuffix(".0"))
        clean[column] = value
    return clean


def read_object(path: Path) -> dict[str, Any]:
    """Return what a JSON file says.

    Raises
    ------
    CohortError
        If it cannot be read, or holds no object.
    """
    said = read_json(path)
    if not isinstance(said, dict):
        raise CohortError(f"{path.name} holds no JSON object: correct it.")
    return said


def clinical_notes(names: Iterable[str], table: Mapping[str, object]) -> list[str]:
    """Return a note on the cases that a clinical table, if there is one, leaves out."""
    absent = [name for name in names if name not in table]
    if not table or not absent:
        return []
    return [f"{len(absent)} cases are not in the clinical table: {few(absent)}."]


def few(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    given = list(names)
    more = f" and {len(given) - FEW} more" if len(given) > FEW else ""
    return ", ".join(given[:FEW]) + more
