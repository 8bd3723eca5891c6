"""What a reader says of a prediction: one JSON file a case, nothing ever lost."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from napari_harm3.artifacts import write_json
from napari_harm3.config import STRICT, to_plain
from napari_harm3.errors import Harm3Error

Verdict = Literal["agree", "unsure", "disagree"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReviewRecord:
    """One verdict."""

    case_id: str
    verdict: Verdict
    comment: str = ""
    reader: str = ""
    model: str = ""
    """Name of the model's folder."""

    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    time: str = Field(default_factory=lambda: datetime.now(UTC).isoformat())


def save_review(folder: Path, record: ReviewRecord) -> Path:
    """Append a verdict to the case's file, atomically; return the file."""
    path = folder / f"{record.case_id}.json"
    earlier = [to_plain(one) for one in _read(path)]
    write_json(path, {"reviews": [*earlier, to_plain(record)]})
    return path


def load_reviews(folder: Path) -> dict[str, ReviewRecord]:
    """Return the latest verdict of every reviewed case.

    Raises
    ------
    Harm3Error
        If a file of the folder is no review.
    """
    latest = {}
    for path in sorted(folder.glob("*.json")):
        records = _read(path)
        if records:
            latest[records[-1].case_id] = records[-1]
    return latest


def _read(path: Path) -> list[ReviewRecord]:
    if not path.exists():
        return []
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))["reviews"]
        return TypeAdapter(list[ReviewRecord]).validate_json(json.dumps(plain))
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise Harm3Error(
            f"{path.name} is no review that can be read: move it away, and review the "
            "case again."
        ) from error
