"""Five folds by patient (section 3.1), one after the other or side by side."""

import multiprocessing
import queue
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from napari_harm3.cohort.case import Case
from napari_harm3.cohort.splits import assign_folds
from napari_harm3.cohort.table import Cohort
from napari_harm3.data.prepare import PreparedCase
from napari_harm3.errors import FeatureError, Harm3Error, Stopped, TrainingError
from napari_harm3.training.config import RunConfig
from napari_harm3.training.fold import FoldTask, run_fold
from napari_harm3.training.run import (
    REFIT,
    STOP,
    append_event,
    check_cases,
    write_card,
    write_folds,
    write_results,
)
from napari_harm3.wsi.bags import read_attributes, read_bag
from napari_harm3.wsi.features import IDENTITY

Event = dict[str, Any]
POLL_SECONDS = 0.2
STEP_SECONDS = 2.0
"""Steps are noted in ``events.jsonl`` no more often than this; epochs always."""


def trainable(cohort: Cohort) -> tuple[list[Case], dict[str, str]]:
    """Return the complete, labelled cases, and why each other one is left out."""
    left_out = {}
    for case in cohort.cases:
        if case.missing:
            left_out[case.case_id] = f"lacks {', '.join(case.missing)}"
        elif case.pcr is None:
            left_out[case.case_id] = "has no label"
        elif case.split == "test":
            left_out[case.case_id] = "belongs to the test split"
    return [c for c in cohort.cases if c.case_id not in left_out], left_out


def cross_validate(
    cohort: Cohort,
    prepared: Sequence[PreparedCase],
    config: RunConfig,
    run: Path,
    *,
    device: str,
    jobs: int = 1,
) -> Iterator[Event]:
    """Train every fold and yield events; the last holds the ``metrics``.

    Finished folds are kept, begun ones go on from their last state.

    Parameters
    ----------
    cohort
        Where the cases come from.
    prepared
        The cases that `trainable` names.
    config, run
        Checked by `open_run`.
    device
        ``cpu`` or ``cuda:N``.
    jobs
        Folds at once, each in a process of its own with one thread.

    Raises
    ------
    TrainingError
        If there are too few cases of a class, a fold's process died,
        the run was begun with other cases, or a fold's loss is no number.
    FeatureError
        If the slides' features were made in different ways.
    Stopped
        If ``RUN/stop`` appeared.
    """
    try:
        yield from _validated(cohort, prepared, config, run, device, jobs)
    except (Harm3Error, OSError) as error:
        kind = "stopped" if isinstance(error, Stopped) else "failed"
        _noted(run, {"kind": kind, "text": str(error)})
        raise
    except GeneratorExit:  # whoever asked for events has gone
        _noted(run, {"kind": "stopped", "text": "Training stopped."})
        raise


def refit(
    cohort: Cohort,
    prepared: Sequence[PreparedCase],
    config: RunConfig,
    run: Path,
    *,
    device: str,
) -> Iterator[Event]:
    """Fit one network on every case of a run, in ``RUN/refit``; yield events.

    Nothing is held out, so nothing measures it: the run's figures are those of its
    cross-validation. Begun, it goes on from its last state.

    Parameters
    ----------
    cohort, prepared
        As `cross_validate` takes them.
    config, run
        Of a run that `open_refit` has opened.
    device
        ``cpu`` or ``cuda:N``.

    Raises
    ------
    TrainingError
        If it was begun with other cases.
    Stopped
        If ``RUN/stop`` appeared.
    """
    check_cases(run, [one.case.case_id for one in prepared])
    task = FoldTask(
        fold=0,
        config=config,
        run=run / REFIT,
        fitted=tuple(prepared),
        held_out=(),
        origin=_origin(cohort, prepared, config),
        device=device,
    )
    yield from run_fold(task, stopped=(run / STOP).exists)


def _validated(
    cohort: Cohort,
    prepared: Sequence[PreparedCase],
    config: RunConfig,
    run: Path,
    device: str,
    jobs: int,
) -> Iterator[Event]:
    _, left_out = trainable(cohort)
    for case_id, why in left_out.items():
        yield _noted(run, {"kind": "left_out", "text": f"{case_id} {why}"})
    origin = _origin(cohort, prepared, config)
    tasks = _tasks(prepared, config, run, origin, device)
    write_folds(run, [(p.case.case_id, t.fold) for t in tasks for p in t.held_out])
    events = _side_by_side(tasks, jobs) if jobs > 1 else _one_by_one(tasks)
    noted = -STEP_SECONDS
    for event in events:
        if event["kind"] != "step" or time.monotonic() - noted >= STEP_SECONDS:
            noted = time.monotonic()
            _noted(run, event)
        yield event
    metrics = write_results(run, left_out)
    write_card(run, origin, metrics)
    yield _noted(run, {"kind": "done", "metrics": metrics, "text": "done"})


def _noted(run: Path, event: Event) -> Event:
    append_event(run, event)
    return event


def _tasks(
    prepared: Sequence[PreparedCase],
    config: RunConfig,
    run: Path,
    origin: Event,
    device: str,
) -> list[FoldTask]:
    cases = [one.case for one in prepared]
    tasks: list[FoldTask] = []
    for repeat in range(config.repeats):
        assigned = assign_folds(
            cases, folds=config.folds, seed=config.seed + 7919 * repeat
        )
        count = max(assigned.values()) + 1
        for fold in range(count):
            fitted = [p for p in prepared if assigned[p.case.case_id] != fold]
            held_out = [p for p in prepared if assigned[p.case.case_id] == fold]
            if len({p.case.pcr for p in fitted}) < 2:
                raise TrainingError(
                    f"Fold {fold} would be trained on one class only: add cases, or "
                    "give other folds."
                )
            tasks.append(
                FoldTask(
                    fold=repeat * count + fold,
                    config=config,
                    run=run,
                    fitted=tuple(fitted),
                    held_out=tuple(held_out),
                    origin=origin,
                    device=device,
                )
            )
    return tasks


def _origin(
    cohort: Cohort, prepared: Sequence[PreparedCase], config: RunConfig
) -> Event:
    """Return what every fold's JSON says of the data; all features must be alike."""
    if not prepared:
        raise TrainingError(
            "No case is complete and labelled: `harm3 check` says what is missing."
        )
    first = prepared[0].bags[0]
    identity = _identity(first)
    for one in prepared:
        for bag in one.bags:
            other = _identity(bag)
            for name, value in identity.items():
                if other[name] != value:
                    raise FeatureError(
                        f"{first.name} and {bag.name} were made with different "
                        f"{name} ({value} and {other[name]}): extract them alike."
                    )
    given = any(bag in one.case.slides for one in prepared for bag in one.bags)
    return {
        "trained_on": "phantom" if cohort.made_up else cohort.name,
        "made_up": cohort.made_up,
        "features": identity,
        "patch_width": int(read_bag(first).features.shape[1]),
        "untrained_encoder": config.inputs.encoder.untrained and not given,
    }


def _identity(bag: Path) -> Event:
    attributes = read_attributes(bag) or {}
    return {name: attributes.get(name) for name in IDENTITY}


def _one_by_one(tasks: Sequence[FoldTask]) -> Iterator[Event]:
    for task in tasks:
        yield from run_fold(task, stopped=(task.run / STOP).exists)


def _side_by_side(tasks: Sequence[FoldTask], jobs: int) -> Iterator[Event]:
    context = multiprocessing.get_context("spawn")
    events: multiprocessing.Queue[Event] = context.Queue()
    waiting = list(tasks)
    running: dict[int, SpawnProcess] = {}
    run = tasks[0].run
    try:
        while waiting or running:
            while waiting and len(running) < jobs and not (run / STOP).exists():
                task = waiting.pop(0)
                process = context.Process(target=_in_process, args=(task, events))
                process.start()
                running[task.fold] = process
            _check_alive(running)
            try:
                event = events.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if not running:
                    raise Stopped("Training stopped; resume it any time.") from None
                continue
            if event["kind"] == "ended":
                running.pop(event["fold"]).join()
                if event["error"] is not None:
                    raise event["error"]
            else:
                yield event
    finally:
        _end(running)


def _end(running: dict[int, SpawnProcess]) -> None:
    for process in running.values():
        process.terminate()
    for process in running.values():
        process.join()


def _check_alive(running: dict[int, SpawnProcess]) -> None:
    for fold, process in running.items():
        if process.is_alive() or process.exitcode == 0:
            continue
        if process.exitcode is not None and process.exitcode > 0:
            raise TrainingError(f"Fold {fold} failed; its own message stands above.")
        raise TrainingError(
            f"The process of fold {fold} was killed (signal {process.exitcode}), "
            "perhaps for lack of memory: resume with fewer --jobs."
        )


def _in_process(task: FoldTask, events: "multiprocessing.Queue[Event]") -> None:
    """Run a fold in a process of its own, one thread of torch."""
    # Ctrl+C reaches the whole terminal; the parent decides what to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    error: BaseException | None = None
    try:
        for event in run_fold(task, stopped=(task.run / STOP).exists):
            events.put(event)
    except (Harm3Error, OSError) as raised:
        error = raised
    events.put({"kind": "ended", "fold": task.fold, "error": error})
