"""Train folds, of one run or of several, one after the other or side by side."""

import multiprocessing
import queue
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from napari_harm3.errors import Harm3Error, Stopped, TrainingError
from napari_harm3.training.events import Event
from napari_harm3.training.fold import FoldTask, run_fold
from napari_harm3.training.run import STOP

POLL_SECONDS = 0.2
Key = tuple[Path, int]
"""Run and fold."""


def run_tasks(
    tasks: Sequence[FoldTask], *, jobs: int, tolerant: bool = False
) -> Iterator[tuple[Path, Event]]:
    """Train folds, yielding each event with its run.

    Parameters
    ----------
    tasks
        Finished ones pass at once; begun ones go on from their last state.
    jobs
        Folds at once, each in a process of its own with one thread; 1 trains here.
    tolerant
        Whether a fold that fails takes only its own run with it, which ends with an
        event ``failed``; the folds of other runs go on.

    Raises
    ------
    TrainingError
        If a fold's process died, or its loss is no number.
    Stopped
        If ``stop`` appeared in the folder of a run that is trained.
    """
    if jobs > 1:
        yield from _side_by_side(tasks, jobs, tolerant)
        return
    failed: set[Path] = set()
    for task in tasks:
        if task.run in failed:
            continue
        try:
            for event in run_fold(task, stopped=(task.run / STOP).exists):
                yield task.run, event
        except TrainingError as error:
            yield task.run, _given_up(task.fold, error, tolerant)
            failed.add(task.run)


def _given_up(fold: int, error: BaseException, tolerant: bool) -> Event:
    """Return the event with which a run ends for a fold that failed, or raise."""
    if not (tolerant and isinstance(error, TrainingError)):
        raise error
    return {"kind": "failed", "fold": fold, "text": str(error)}


def _side_by_side(
    tasks: Sequence[FoldTask], jobs: int, tolerant: bool
) -> Iterator[tuple[Path, Event]]:
    pool = _Pool(tasks, jobs)
    failed: set[Path] = set()
    try:
        while pool.busy:
            heard = pool.hear()
            if heard is None:
                continue
            run, event = heard
            if event["kind"] != "ended":
                yield run, event
            elif event["error"] is not None and run not in failed:
                yield run, _given_up(event["fold"], event["error"], tolerant)
                failed.add(run)
                pool.give_up(run)
    finally:
        pool.end()


class _Pool:
    """Processes that train folds, so many at once."""

    def __init__(self, tasks: Sequence[FoldTask], jobs: int) -> None:
        self._context = _context()
        self._events: multiprocessing.Queue[tuple[Path, Event]] = self._context.Queue()
        self._waiting, self._jobs = list(tasks), jobs
        self._running: dict[Key, BaseProcess] = {}

    @property
    def busy(self) -> bool:
        """Whether a fold waits or is trained."""
        return bool(self._waiting or self._running)

    def hear(self) -> tuple[Path, Event] | None:
        """Begin what there is room for; return what a fold says, if any does soon.

        The last word of a fold is ``ended``, with the error that ended it or None.
        """
        self._fill()
        for (run, fold), process in self._running.items():
            if not process.is_alive() and process.exitcode:
                del self._running[run, fold]
                why = _why_dead(run, fold, process.exitcode)
                return run, {"kind": "ended", "fold": fold, "error": why}
        try:
            run, event = self._events.get(timeout=POLL_SECONDS)
        except queue.Empty:
            if not self._running:
                raise Stopped("Training stopped; resume it any time.") from None
            return None
        if event["kind"] == "ended":
            self._running.pop((run, event["fold"])).join()
        return run, event

    def give_up(self, run: Path) -> None:
        """Begin no other fold of a run; those at work end after their step.

        Killed, they could leave the queue locked for all others.
        """
        self._waiting = [task for task in self._waiting if task.run != run]
        (run / STOP).touch()

    def end(self) -> None:
        """Kill what is left."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.join()

    def _fill(self) -> None:
        while (
            self._waiting
            and len(self._running) < self._jobs
            and not (self._waiting[0].run / STOP).exists()
        ):
            task = self._waiting.pop(0)
            process = self._context.Process(
                target=_in_process, args=(task, self._events)
            )
            process.start()
            self._running[task.run, task.fold] = process


def _why_dead(run: Path, fold: int, exitcode: int) -> TrainingError:
    if exitcode > 0:
        return TrainingError(
            f"Fold {fold} of {run.name} failed; its own message stands above."
        )
    return TrainingError(
        f"The process of fold {fold} of {run.name} was killed (signal {exitcode}), "
        "perhaps for lack of memory: resume with fewer --jobs."
    )


def _context() -> Any:
    """Return how processes are begun: from one that has imported everything, once.

    What a fold needs takes longer to import than a small network to train. A plain fork
    of this process, which may hold torch's threads, could hang.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["napari_harm3.training.fold_pool"])
    return context


def _in_process(
    task: FoldTask, events: "multiprocessing.Queue[tuple[Path, Event]]"
) -> None:
    """Run a fold in a process of its own, one thread of torch."""
    # Ctrl+C reaches the whole terminal; the parent decides what to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    error: BaseException | None = None
    task = replace(task, alone=True)
    try:
        for event in run_fold(task, stopped=(task.run / STOP).exists):
            events.put((task.run, event))
    except (Harm3Error, OSError) as raised:
        error = raised
    events.put((task.run, {"kind": "ended", "fold": task.fold, "error": error}))
