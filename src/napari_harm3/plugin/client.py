"""The viewer's end of the worker: asks, and passes on what comes back."""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, QProcess, QProcessEnvironment, QTimer

from napari_harm3.worker.arrays import take_arrays
from napari_harm3.worker.messages import Answer, Request

GRACE_MS = 5000
"""How long a cancelled job may take to reach its next step before it is killed."""

ENDED = "The worker process ended; the next request starts it anew."
NOT_STARTED = (
    "The worker process could not be started: start napari anew, and install "
    "napari-harm3 again if that does not help."
)

_numbers = count(1)
"""Of all requests, to whatever worker: an old one never means another's."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who wants to know about a request."""

    then: Callable[[dict[str, Any]], None]
    """Takes the result."""

    progress: Callable[[Answer], None] = lambda _: None
    failed: Callable[[str], None] = lambda _: None
    """Takes a sentence; empty when the request was cancelled."""


class Client(QObject):
    """Starts the worker on first need, and again after it died."""

    def __init__(self, work: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._work = work
        self._process: QProcess | None = None
        self._listeners: dict[int, Listener] = {}

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self._listeners)

    def ask(self, job: str, params: dict[str, Any], listener: Listener) -> int:
        """Send a request; return its number, to cancel it by."""
        request = Request(id=next(_numbers), job=job, params=params)
        self._listeners[request.id] = listener
        self._running().write(request.line())
        return request.id

    def cancel(self, number: int) -> None:
        """Stop a request between two steps; a job that hangs is killed."""
        if number not in self._listeners or self._process is None:
            return
        self._process.write(Request(id=number, kind="cancel").line())
        QTimer.singleShot(GRACE_MS, lambda: self._kill_if_running(number))

    def close(self) -> None:
        """End the worker; whoever waits for it hears that it was cancelled."""
        waiting, self._listeners = self._listeners, {}
        self.end()
        for listener in waiting.values():
            listener.failed("")

    def end(self) -> None:
        """End the worker and tell nobody, as when the panels go too."""
        self._listeners.clear()
        process, self._process = self._process, None
        if process is not None:
            process.finished.disconnect()
            process.errorOccurred.disconnect()
            process.write(Request(id=0, kind="quit").line())
            process.closeWriteChannel()
            if not process.waitForFinished(1000):
                process.kill()
                process.waitForFinished(1000)

    def _running(self) -> QProcess:
        if self._process is not None:
            return self._process
        process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUNBUFFERED", "1")
        process.setProcessEnvironment(environment)
        process.setProcessChannelMode(QProcess.ProcessChannelMode.ForwardedErrorChannel)
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._died)
        process.errorOccurred.connect(self._failed)
        module = ["-m", "napari_harm3.worker", "--work", os.fspath(self._work)]
        process.start(sys.executable, module)
        self._process = process
        return process

    def _read(self) -> None:
        process = self._process
        while process is not None and process.canReadLine():
            line = bytes(process.readLine().data())
            self._take(Answer.model_validate_json(line))

    def _take(self, answer: Answer) -> None:
        listener = self._listeners.get(answer.id)
        if listener is None:
            return
        if answer.kind == "progress":
            listener.progress(answer)
            return
        del self._listeners[answer.id]
        if answer.kind == "result":
            listener.then(take_arrays(answer.result or {}))
            if self._process is not None:
                done = Request(id=answer.id, kind="done_with_arrays")
                self._process.write(done.line())
        elif answer.kind == "crashed":
            logging.getLogger(__name__).error("The worker met a bug.\n%s", answer.text)
            listener.failed("The worker met a bug; its traceback is in the log.")
        else:
            listener.failed(answer.text)

    def _kill_if_running(self, number: int) -> None:
        # The oldest runs; the worker itself lets go of those that wait behind it.
        if self._process is not None and number == next(iter(self._listeners), None):
            self._process.kill()
            # As was asked; others hear that the worker died.
            self._listeners.pop(number).failed("")

    def _died(self) -> None:
        self._lost(ENDED)

    def _failed(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:  # else it has also finished
            # Some systems say so at once, when who asks has no number yet.
            QTimer.singleShot(0, lambda: self._lost(NOT_STARTED))

    def _lost(self, message: str) -> None:
        self._process = None
        waiting, self._listeners = self._listeners, {}
        for listener in waiting.values():
            listener.failed(message)
