"""What a job says while it works."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One message of a running job; the last one carries the result."""

    stage: str
    """The part of the work, in words: ``volumes``, ``slides``, ``training``."""

    step: int = 0
    """Steps of the stage that are done."""

    of: int = 0
    """Steps of the stage in all; 0 when not known."""

    text: str = ""
    """What is being worked on."""

    data: dict[str, Any] | None = None
    """Figures worth drawing, ``loss``, ``auc``, ``fold``, ``epoch``; a case's row."""

    warning: str | None = None
    """Something worth knowing that does not stop the work."""

    result: dict[str, Any] | None = None
    """What the job made, in the shape that ``--json`` prints; only at the end."""


Job = Generator[Progress, None, None]
"""To stop a job is to stop asking, and close it."""


def finished(stage: str, result: dict[str, Any]) -> Progress:
    """Return the last message of a job."""
    return Progress(stage=stage, step=1, of=1, text="done", result=result)


def result_of(job: Job) -> dict[str, Any]:
    """Run a job to its end and return what it made."""
    result: dict[str, Any] = {}
    for message in job:
        result = message.result or result
    return result
