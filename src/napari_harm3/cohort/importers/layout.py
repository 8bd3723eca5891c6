"""The files of an import on disk: referred to or copied, and the table written."""

import filecmp
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from napari_harm3.artifacts import atomic_path
from napari_harm3.cohort.importers.listing import Listing, Row
from napari_harm3.cohort.rows import FILE_COLUMNS
from napari_harm3.cohort.table import external_files, write_cohort
from napari_harm3.errors import CohortError, sentence
from napari_harm3.mri.formats import DETACHED, VOLUME_SUFFIXES

TABLE, ABOUT = "cohort.csv", "cohort.json"


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise if a file that a person may have edited would be replaced.

    Raises
    ------
    CohortError
        Naming the file.
    """
    if path.exists() and not overwrite:
        raise CohortError(
            f"{path.name} is there already in {path.parent.resolve().name}: give "
            "another folder, or add --overwrite."
        )


def refuse_table(out: Path, *, overwrite: bool) -> None:
    """Raise if a folder has a cohort table, or what is said of one, already.

    Raises
    ------
    CohortError
        Naming the file.
    """
    for name in (TABLE, ABOUT):
        refuse_existing(out / name, overwrite=overwrite)


def copy_files(listing: Listing, out: Path) -> Iterator[tuple[str, Row]]:
    """Copy every file to ``OUT/<case_id>/<column>``; those already there are kept.

    Yields each case id, and its row with the copies in it; each copy, a file or a
    folder, is whole or absent.

    Raises
    ------
    CohortError
        If a file keeps its voxels in another one, or cannot be copied.
    """
    for row in listing.rows:
        case_id, copied = str(row["case_id"]), dict(row)
        for column, cell in row.items():
            if isinstance(cell, Path):
                copied[column] = _copy(cell, out / case_id / column)
        yield case_id, copied


def _copy(source: Path, target: Path) -> Path:
    copy = _copy_folder
    if not source.is_dir():
        copy, target = _copy_file, target.with_name(target.name + _suffix(source))
    try:
        copy(source, target)
    except OSError as error:
        raise CohortError(sentence(error, source.name)) from error
    return target


def _suffix(source: Path) -> str:
    suffix = next((s for s in VOLUME_SUFFIXES if source.name.lower().endswith(s)), "")
    if suffix in DETACHED:
        raise CohortError(
            f"{source.name} keeps its voxels in another file and cannot be copied "
            "alone: leave out --copy, or save it as .mha or .nrrd."
        )
    return suffix


def _copy_file(source: Path, target: Path) -> None:
    # Size and time tell a finished copy; where only the time differs, the bytes do.
    if target.exists() and filecmp.cmp(source, target, shallow=True):
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        shutil.copystat(source, temporary)


def _copy_folder(source: Path, target: Path) -> None:
    """Copy under a temporary name, then take the place of what was there."""
    files = _files(source)
    if target.is_dir() and _files(target) == files:
        _, changed, unread = filecmp.cmpfiles(source, target, files)
        if not changed + unread:
            return
    here, there = source.resolve(), target.resolve()
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise CohortError(
            f"{source.name} and its copy, {target.parent.name}/{target.name}, lie "
            "one in the other: give another folder to write into."
        )
    temporary = target.with_name(f".{target.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for file in files:
        _copy_file(source / file, temporary / file)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)


def _files(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder) for path in files)


def write_table(out: Path, listing: Listing, *, deidentified: bool = False) -> Path:
    """Write ``OUT/cohort.csv`` and ``cohort.json``; paths become relative to OUT.

    Raises
    ------
    CohortError
        If a file lies on another drive, where no relative path leads.
    """
    columns = _columns(listing)
    rows = [
        {column: _cell(row.get(column, ""), out) for column in columns}
        for row in listing.rows
    ]
    table = out / TABLE
    write_cohort(table, rows, name=listing.name, deidentified=deidentified)
    return table


def external_note(table: Path) -> str | None:
    """Return a note if the table names files outside its own folder."""
    outside = external_files(table)
    if not outside:
        return None
    return (
        f"{len(outside)} files lie outside the table's folder: add --allow-external "
        "to every command that reads it, or import again with --copy --overwrite."
    )


def _columns(listing: Listing) -> list[str]:
    """Return the columns in the order of the cohort table; others follow."""
    used = list(dict.fromkeys(column for row in listing.rows for column in row))
    first = [c for c in ("case_id", *FILE_COLUMNS, "pcr") if c in used or c == "pcr"]
    return first + [column for column in used if column not in first]


def _cell(cell: str | Path, out: Path) -> str:
    if isinstance(cell, str):
        return cell
    try:
        # The file's own name is kept where it is a link, as data sets have them.
        here = cell.parent.resolve() / cell.name
        return Path(os.path.relpath(here, out.resolve())).as_posix()
    except ValueError as error:
        raise CohortError(
            f"{cell.name} lies on another drive than the table: add --copy."
        ) from error
