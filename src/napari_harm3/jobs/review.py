"""What readers say of cases, kept in the work folder."""

from pathlib import Path

from napari_harm3.config import from_plain
from napari_harm3.report.review import (
    Flag,
    Reading,
    ReviewRecord,
    Verdict,
    load_review,
    load_reviews,
    save_review,
    set_review_aside,
)

__all__ = [
    "Flag",
    "Reading",
    "ReviewRecord",
    "Verdict",
    "load",
    "load_all",
    "record",
    "save",
    "set_aside",
]

FOLDER = "reviews"


def record(**fields: object) -> ReviewRecord:
    """Return what was said, its fields checked."""
    return from_plain(ReviewRecord, fields, source="the review")


def save(work: Path, said: ReviewRecord) -> Path:
    """Write what was said, keeping what was said before; return the case's file."""
    return save_review(work / FOLDER, said)


def load(work: Path, case_id: str) -> ReviewRecord | None:
    """Return what was last said of a case, if anything was."""
    return load_review(work / FOLDER, case_id)


def load_all(
    work: Path,
) -> tuple[dict[str, tuple[ReviewRecord, ...]], list[str]]:
    """Return what was said of every case, in order, and what other files suffer from.

    No case is without a record.
    """
    return load_reviews(work / FOLDER)


def set_aside(work: Path, case_id: str) -> Path:
    """Rename a case's file that cannot be read; return the new one."""
    return set_review_aside(work / FOLDER, case_id)
