"""What the folder of a table says: of the table, and of each method's run in it."""

import json
from pathlib import Path
from typing import Any

from napari_harm3.plugin.run_state import RunState


class TableState(RunState):
    """Follows a table; its folds are those of all its methods."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.runs: dict[str, RunState] = {}

    @property
    def table(self) -> str:
        """``table1`` or ``table2``; empty while nobody knows."""
        return str(self.about.get("table", ""))

    @property
    def folders(self) -> list[Path]:
        """The table's own, and that of every run."""
        return [self.folder, *(run.folder for run in self.runs.values())]

    @property
    def count(self) -> int:
        """Folds of all methods; those whose run is not there yet have as many."""
        counts = [run.count for run in self.runs.values()]
        return sum(count or max(counts) for count in counts)

    @property
    def done(self) -> float:
        """Folds that are done, of whatever method."""
        return sum(run.done for run in self.runs.values())

    @property
    def gained(self) -> float:
        """The same, by the last process alone."""
        return sum(run.gained for run in self.at_work)

    @property
    def at_work(self) -> list[RunState]:
        """The runs that the last process has begun to train."""
        return [
            run
            for run in self.runs.values()
            if run.begun >= self.begun and run.stage == "training"
        ]

    def read(self) -> bool:
        """Take in what is new in the table's folder and in every run's."""
        new = super().read()
        for name in self.about.get("methods", ()):
            run = self.runs.setdefault(name, RunState(self.folder / name))
            new = run.read() or new
        if new and self.at_work and not self.ended:
            self.stage = "training"
            self.heard = max(run.heard for run in self.at_work)
            self.paused = any(run.paused for run in self.at_work)
            # Side by side or one after the other: from the first word to the last.
            began = min(run.heard - run.worked for run in self.at_work)
            self.worked = self.heard - began
        return new

    def result(self) -> dict[str, Any] | None:
        """Return the table as it was written; None if it is not finished."""
        try:
            text = (self.folder / f"{self.table}.json").read_text(encoding="utf-8")
        except OSError:
            return None
        found: dict[str, Any] = json.loads(text)
        return found
