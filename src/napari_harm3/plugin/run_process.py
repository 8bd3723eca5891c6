"""A process that trains on its own: it is begun, told to wait or stop, and watched."""

import re
import sys
import time
from collections.abc import Sequence
from typing import Literal

from qtpy.QtCore import QProcess

from napari_harm3.plugin.run_state import RunState
from napari_harm3.worker.alive import alive

STOP, PAUSE = "stop", "pause"
LOG = "process.log"
"""Holds what the process says on stderr, its last words among it."""

QUIET_SECONDS = 60.0
"""A process that nobody here began may run on another computer: it is given up only
after it was silent for so long."""

TOLD = re.compile(r"^(harm3|\w+(\.\w+)*(Error|Exception)): ?(?P<text>.+)")
Status = Literal[
    "idle",
    "starting",
    "preparing",
    "training",
    "pausing",
    "paused",
    "stopping",
    "stopped",
    "failed",
    "done",
    "silent",
]
LIVE = ("starting", "preparing", "training", "pausing", "paused", "stopping")


class RunProcess:
    """The process that works in a folder, whoever began it.

    Parameters
    ----------
    state
        What the folder says.
    """

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._pid: int | None = None
        self._begins = 0

    @property
    def status(self) -> Status:
        """What goes on in the folder."""
        state = self.state
        if self._pid is not None and state.begins == self._begins:
            return "starting" if alive(self._pid) else "silent"
        if state.ended:
            return state.ended  # type: ignore[return-value]  # one of ENDS
        if not state.heard:
            return "idle"
        if not self._working():
            return "silent"
        return self._at_work()

    @property
    def live(self) -> bool:
        """Whether a process works in the folder."""
        return self.status in LIVE

    @property
    def last_words(self) -> str:
        """Why the process ended, if it said so on its way."""
        try:
            text = (self.state.folder / LOG).read_text(
                encoding="utf-8", errors="ignore"
            )
        except OSError:
            return ""
        lines = [line.strip() for line in re.split(r"[\r\n]", text) if line.strip()]
        found = TOLD.match(lines[-1]) if lines else None
        return found["text"] if found else ""

    def start(self, arguments: Sequence[str]) -> bool:
        """Begin ``harm3`` with some arguments, in a process that outlives this one."""
        folder = self.state.folder
        folder.mkdir(parents=True, exist_ok=True)
        for heard in self.state.folders:
            for order in (STOP, PAUSE):
                (heard / order).unlink(missing_ok=True)
        process = QProcess()
        process.setProgram(sys.executable)
        process.setArguments(["-m", "napari_harm3.cli.main", *arguments])
        process.setStandardOutputFile(QProcess.nullDevice())
        process.setStandardErrorFile(str(folder / LOG))
        self._begins = self.state.begins
        started, pid = process.startDetached()
        self._pid = int(pid) if started else None
        return bool(started)

    def pause(self, *, on: bool) -> None:
        """Let every fold wait between two steps, or go on."""
        for folder in self.state.folders:
            if on and folder.exists():
                (folder / PAUSE).touch()
            elif not on:
                (folder / PAUSE).unlink(missing_ok=True)

    def stop(self) -> None:
        """Let the process end after its step; it can be resumed."""
        for folder in self.state.folders:
            if folder.exists():
                (folder / STOP).touch()
        self.pause(on=False)

    def _at_work(self) -> Status:
        if any((folder / STOP).exists() for folder in self.state.folders):
            return "stopping"
        if any((folder / PAUSE).exists() for folder in self.state.folders):
            return "paused" if self.state.paused else "pausing"
        return "training" if self.state.stage == "training" else "preparing"

    def _working(self) -> bool:
        if self.state.pid is not None and alive(self.state.pid, self.state.begun):
            return True
        ours = self._pid is not None
        return not ours and time.time() - self.state.heard < QUIET_SECONDS
