"""What the viewer and the worker say to each other: one JSON object a line."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def line(self) -> bytes:
        """Return the message as a line of JSON."""
        return self.model_dump_json().encode() + b"\n"


class Request(_Line):
    """The viewer asks."""

    id: int
    kind: Literal["run", "cancel", "done_with_arrays", "quit"] = "run"
    job: str = ""
    """Name of a job, see `worker.table.JOBS`."""

    params: dict[str, Any] = {}


class Answer(_Line):
    """The worker says."""

    id: int
    kind: Literal["ready", "progress", "result", "refused", "cancelled", "crashed"]
    """``refused`` is for the user, one sentence; ``crashed`` is a bug's traceback."""

    text: str = ""
    stage: str = ""
    step: int = 0
    of: int = 0
    data: dict[str, Any] | None = None
    warning: bool = False
    result: dict[str, Any] | None = None
