"""Train folds, of one run or of several, one after the other or side by side."""

import multiprocessing
import queue
import signal
from collections.abc import Iterator, Sequence
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


def run_tasks(tasks: Sequence[FoldTask], *, jobs: int) -> Iterator[tuple[Path, Event]]:
    """Train folds, yielding each event with its run.

    Parameters
    ----------
    tasks
        Finished ones pass at once; begun ones go on from their last state.
    jobs
        Folds at once, each in a process of its own with one thread; 1 trains here.

    Raises
    ------
    TrainingError
        If a fold's process died, or its loss is no number.
    Stopped
        If ``stop`` appeared in the folder of a run that is trained.
    """
    if jobs > 1:
        yield from _side_by_side(tasks, jobs)
        return
    for task in tasks:
        for event in run_fold(task, stopped=(task.run / STOP).exists):
            yield task.run, event


def _side_by_side(tasks: Sequence[FoldTask], jobs: int) -> Iterator[tuple[Path, Event]]:
    context = _context()
    events: multiprocessing.Queue[tuple[Path, Event]] = context.Queue()
    waiting = list(tasks)
    running: dict[Key, BaseProcess] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs and not _stopped(waiting):
                task = waiting.pop(0)
                process = context.Process(target=_in_process, args=(task, events))
                process.start()
                running[task.run, task.fold] = process
            _check_alive(running)
            try:
                run, event = events.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if not running:
                    raise Stopped("Training stopped; resume it any time.") from None
                continue
            if event["kind"] == "ended":
                running.pop((run, event["fold"])).join()
                if event["error"] is not None:
                    raise event["error"]
            else:
                yield run, event
    finally:
        _end(running)


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


def _stopped(waiting: Sequence[FoldTask]) -> bool:
    return (waiting[0].run / STOP).exists()


def _end(running: dict[Key, BaseProcess]) -> None:
    for process in running.values():
        process.terminate()
    for process in running.values():
        process.join()


def _check_alive(running: dict[Key, BaseProcess]) -> None:
    for (run, fold), process in running.items():
        if process.is_alive() or process.exitcode == 0:
            continue
        if process.exitcode is not None and process.exitcode > 0:
            raise TrainingError(
                f"Fold {fold} of {run.name} failed; its own message stands above."
            )
        raise TrainingError(
            f"The process of fold {fold} of {run.name} was killed (signal "
            f"{process.exitcode}), perhaps for lack of memory: resume with fewer "
            "--jobs."
        )


def _in_process(
    task: FoldTask, events: "multiprocessing.Queue[tuple[Path, Event]]"
) -> None:
    """Run a fold in a process of its own, one thread of torch."""
    # Ctrl+C reaches the whole terminal; the parent decides what to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    error: BaseException | None = None
    try:
        for event in run_fold(task, stopped=(task.run / STOP).exists):
            events.put((task.run, event))
    except (Harm3Error, OSError) as raised:
        error = raised
    events.put((task.run, {"kind": "ended", "fold": task.fold, "error": error}))
