"""What drawn and implanted cases share: names, streams, and when one is done."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_harm3.artifacts import read_record, sha256_of, write_json
from napari_harm3.cohort.case import ROLES
from napari_harm3.errors import CohortError

DONE = "case.json"
"""What is true of a case; it names the files only when all are written."""

TABLES = ("cohort.csv", "cohort.json", "truth.csv")

FILES = (*ROLES, *(f"mask_{role}" for role in ROLES))
"""Columns of the cohort table that name a case's volumes and annotations."""


def case_name(prefix: str, index: int) -> str:
    """Return the case id of a number."""
    return f"{prefix}-{index + 1:04d}"


def stream(seed: int, index: int, part: int) -> np.random.Generator:
    """Return what a part of a case is drawn from; no part sees another's."""
    return np.random.default_rng([seed, index, part])


def check_own(out: Path, *, name: str, cases: Iterable[str]) -> None:
    """Refuse to write over what is not of a made-up cohort of this kind.

    Parameters
    ----------
    out
        Folder of the cohort.
    name
        What its ``cohort.json`` calls a cohort of this kind.
    cases
        Names of the cases that are to be written.

    Raises
    ------
    CohortError
        Naming a table, or the folder of a case, that would be lost; or the file that
        is where a folder must be.
    """
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise CohortError(
                f"{place.name} is no folder: choose another place for the cohort."
            )
    begun = {one: (out / one / DONE).exists() for one in cases}
    taken = [f"the folder {one}" for one in begun if _strange(out / one)]
    about = read_record(out / "cohort.json")
    told = about.get("made_up") is True and about.get("name") == name
    # Before a cohort is finished, its cases alone say whose the folder is.
    tables = [table for table in TABLES if (out / table).exists()]
    if not told and ({*tables} - {"truth.csv"} or not any(begun.values())):
        taken = [*tables, *taken]
    if taken:
        raise CohortError(
            f"{out.resolve().name} holds {taken[0]}, which is not of a cohort that was "
            "made up in this way and would be lost: choose another folder."
        )


def begin(folder: Path, made_of: Mapping[str, Any]) -> None:
    """Mark a folder as a made-up case that is not finished."""
    write_json(folder / DONE, made_of)


def finish(folder: Path, about: Mapping[str, Any], files: Iterable[str]) -> None:
    """Write what is true of a case, and the SHA-256 of its files."""
    sums = {name: sha256_of(folder / name) for name in files}
    write_json(folder / DONE, {**about, "files": sums})


def finished(folder: Path, made_of: Mapping[str, Any]) -> bool:
    """Return whether a case is made of the same, and each file as it was written."""
    about = read_record(folder / DONE)
    files = about.get("files")
    if not isinstance(files, dict) or not made_of.items() <= about.items():
        return False
    paths = [folder / name for name in files]
    return all(path.is_file() for path in paths) and all(
        sha256_of(path) == one for path, one in zip(paths, files.values(), strict=True)
    )


def _strange(folder: Path) -> bool:
    """Return whether a folder holds something, and not a made-up case."""
    if (folder / DONE).exists():
        return False
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
