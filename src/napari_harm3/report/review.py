"""What a reader says of a case: one JSON file a case, and no final word is lost.

A case is read twice, as in a reader study with sequential reading: first by itself,
then with the prediction in sight. Beside the files stands one table of the latest word
on every case.
"""

from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from napari_harm3.artifacts import write_csv, write_json
from napari_harm3.config import STRICT, to_plain
from napari_harm3.errors import Harm3Error

Reading = Literal["pcr", "non-pcr"]
Verdict = Literal["agree", "unsure", "disagree"]
Flag = Literal["look again", "motion", "alignment", "annotation", "slide"]
Grade = Annotated[int, Field(ge=1, le=5)]
TABLE = "reviews.csv"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReviewRecord:
    """What a reader said when it was saved."""

    case_id: str
    reading: Reading | None = None
    """The reader's own answer, in the end."""

    confidence: Grade | None = None
    """In that answer; 5 is certain."""

    first_reading: Reading | None = None
    """The answer as it stood when the prediction came in sight."""

    first_confidence: Grade | None = None
    verdict: Verdict | None = None
    """On the prediction."""

    localisation: Grade | None = None
    """How well the heat maps lie on what the reader sees; 5 is exactly."""

    flags: tuple[Flag, ...] = ()
    """What is wrong with the case's images or annotations."""

    comment: str = ""
    draft: bool = False
    """Whether the reader had not finished."""

    seconds: Annotated[float, Field(ge=0)] | None = None
    """From the opening of the case until it was saved."""

    reader: str = ""
    model: str = ""
    """Name of the model's folder."""

    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of pCR, as it was in sight; None if none was."""

    time: str = Field(default_factory=lambda: datetime.now(UTC).isoformat())


REVIEWS = TypeAdapter(dict[str, list[ReviewRecord]])
"""What a case's file holds."""


def save_review(folder: Path, record: ReviewRecord) -> Path:
    """Add a record to the case's file, atomically, and renew the table.

    It takes the place of drafts alone.

    Returns
    -------
    The case's file.

    Raises
    ------
    Harm3Error
        If the case's file is no review; it is left as it is.
    """
    path = _file(folder, record.case_id)
    earlier = [to_plain(one) for one in _read(path) if not one.draft]
    write_json(path, {"reviews": [*earlier, to_plain(record)]})
    said, _ = load_reviews(folder)
    rows = [to_plain(records[-1]) for records in said.values()]
    flat = [{**row, "flags": "; ".join(row["flags"])} for row in rows]
    write_csv(folder / TABLE, flat, list(to_plain(record)))
    return path


def load_review(folder: Path, case_id: str) -> ReviewRecord | None:
    """Return the latest record of a case, if there is one.

    Raises
    ------
    Harm3Error
        If its file is no review.
    """
    records = _read(_file(folder, case_id))
    return records[-1] if records else None


def load_reviews(
    folder: Path,
) -> tuple[dict[str, tuple[ReviewRecord, ...]], list[str]]:
    """Return what was said of every case, in order, and what other files suffer from.

    No case is without a record.
    """
    said, faults = {}, []
    for path in sorted(folder.glob("*.json")):
        try:
            records = _read(path)
        except Harm3Error as error:
            faults.append(str(error))
            continue
        if records:
            said[records[-1].case_id] = tuple(records)
    return said, faults


def set_review_aside(folder: Path, case_id: str) -> Path:
    """Rename a case's file, so that the case can be reviewed anew; return the new one.

    Raises
    ------
    OSError
        If it cannot be renamed.
    """
    path = _file(folder, case_id)
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in count(1))
    return path.rename(next(name for name in names if not name.exists()))


def _file(folder: Path, case_id: str) -> Path:
    return folder / f"{case_id}.json"


def _read(path: Path) -> list[ReviewRecord]:
    if not path.exists():
        return []
    try:
        return REVIEWS.validate_json(path.read_bytes())["reviews"]
    except (OSError, ValueError, KeyError) as error:
        raise Harm3Error(
            f"{Path(*path.parts[-3:])} is no review that can be read: set it aside in "
            "the Review panel, or move it away, and review the case again."
        ) from error
