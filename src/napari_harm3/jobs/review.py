"""What a reader says of a prediction, kept."""

from pathlib import Path

from napari_harm3.config import from_plain
from napari_harm3.report.review import ReviewRecord, load_reviews, save_review


def record(**fields: object) -> ReviewRecord:
    """Return a verdict, its fields checked."""
    return from_plain(ReviewRecord, fields, source="the review")


def save(folder: Path, verdict: ReviewRecord) -> Path:
    """Write a verdict, keeping the earlier ones of the case; return its file."""
    return save_review(folder, verdict)


def load(folder: Path) -> dict[str, ReviewRecord]:
    """Return the latest verdict of each case."""
    return load_reviews(folder)
