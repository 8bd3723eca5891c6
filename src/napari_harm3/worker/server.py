"""The worker's loop: one job at a time.

It is cancelled between two of its messages, or where long work asks, see
`parallel.stopping`.
"""

import os
import queue
import sys
import threading
import time
import traceback
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from napari_harm3.errors import Harm3Error, Stopped, sentence
from napari_harm3.jobs.parallel import stoppable
from napari_harm3.jobs.progress import Progress
from napari_harm3.worker.alive import alive
from napari_harm3.worker.arrays import put_arrays, remove_arrays
from napari_harm3.worker.messages import Answer, Request
from napari_harm3.worker.table import job_of

LEAST_SECONDS = 0.05
"""Progress of a stage closer together than this is dropped: nobody could see it."""


class Server:
    """Answers requests of one viewer.

    Parameters
    ----------
    requests, answers
        Byte streams of JSON lines.
    work
        Folder under which arrays are handed over.
    """

    def __init__(self, requests: BinaryIO, answers: BinaryIO, work: Path) -> None:
        self._requests, self._answers = requests, answers
        self._arrays = work / "arrays" / str(os.getpid())
        self._turns: queue.Queue[int] = queue.Queue()
        self._waiting: dict[int, Request] = {}
        self._cancelled: set[int] = set()
        self._speaking = threading.Lock()
        self._quit = threading.Event()

    def serve(self) -> None:
        """Answer until the viewer hangs up."""
        threading.Thread(target=self._listen, daemon=True).start()
        self._say(Answer(id=0, kind="ready"))
        while not self._quit.is_set():
            try:
                number = self._turns.get(timeout=0.2)
            except queue.Empty:
                continue
            request = self._waiting.pop(number, None)
            if request is not None:
                self._run(request)
        remove_arrays(self._arrays)

    def _listen(self) -> None:
        """Hear requests while a job runs, so that it can be cancelled."""
        for line in self._requests:
            try:
                request = Request.model_validate_json(line)
            except ValidationError:
                print(f"not a request: {line!r}", file=sys.stderr)  # noqa: T201 - log
                continue
            if request.kind == "cancel":
                self._cancel(request.id)
            elif request.kind == "done_with_arrays":
                remove_arrays(self._arrays / str(request.id))
            elif request.kind == "quit":
                break
            else:
                self._waiting[request.id] = request
                self._turns.put(request.id)
        self._quit.set()

    def _cancel(self, number: int) -> None:
        """Stop a request; one that has not begun is answered at once."""
        # Whoever takes it out, this thread or the one that runs jobs, answers it.
        if self._waiting.pop(number, None) is not None:
            self._say(Answer(id=number, kind="cancelled"))
        else:
            self._cancelled.add(number)

    def _run(self, request: Request) -> None:
        try:
            with stoppable(lambda: self._stopped(request)):
                self._follow(request)
        except Stopped:
            self._say(Answer(id=request.id, kind="cancelled"))
        except (Harm3Error, OSError) as error:
            self._say(Answer(id=request.id, kind="refused", text=sentence(error)))
        except Exception:  # noqa: BLE001 - the one place where a bug is caught: told whole
            self._say(
                Answer(id=request.id, kind="crashed", text=traceback.format_exc())
            )
        finally:  # what waits is never among them
            self._cancelled.clear()

    def _follow(self, request: Request) -> None:
        last, stage = 0.0, ""
        with closing(job_of(request.job, request.params)) as job:
            for message in job:
                if self._stopped(request):
                    raise Stopped("Cancelled.")
                now = time.monotonic()
                new = message.warning or message.stage != stage
                if message.result is not None:
                    result = put_arrays(message.result, self._arrays / str(request.id))
                    self._say(Answer(id=request.id, kind="result", result=result))
                elif new or now - last >= LEAST_SECONDS:
                    last, stage = now, message.stage
                    self._say(_progress(request.id, message))

    def _stopped(self, request: Request) -> bool:
        return request.id in self._cancelled or self._quit.is_set()

    def _say(self, answer: Answer) -> None:
        with self._speaking:
            self._answers.write(answer.line())
            self._answers.flush()


def _progress(number: int, message: Progress) -> Answer:
    return Answer(
        id=number,
        kind="progress",
        text=message.warning or message.text,
        stage=message.stage,
        step=message.step,
        of=message.of,
        data=message.data,
        warning=message.warning is not None,
    )


def main(work: Path) -> None:
    """Serve on stdin and stdout; whatever a library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    remove_stale(work)
    Server(sys.stdin.buffer, answers, work).serve()


def remove_stale(work: Path) -> None:
    """Delete the arrays of workers that are gone."""
    for folder in (work / "arrays").glob("*"):
        if folder.name.isdecimal() and not alive(int(folder.name)):
            remove_arrays(folder)
