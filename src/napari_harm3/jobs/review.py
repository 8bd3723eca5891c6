"""What a reader says of a prediction, kept."""

from pathlib import Path

from napari_harm3.report.review import ReviewRecord, load_reviews, save_review


def save(folder: Path, record: ReviewRecord) -> Path:
    """Write a review, keeping the earlier ones of the case; return its file."""
    return save_review(folder, record)


def load(folder: Path) -> dict[str, ReviewRecord]:
    """Return the latest review of each case."""
    return load_reviews(folder)
