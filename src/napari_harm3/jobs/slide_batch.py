"""Many slides, each ending as exactly one row: done, damaged, empty or failed.

One bad slide never stops the rest. A slide is held by a lock while it is worked on, so
that several processes, also on several machines, can share one folder; the lock of a
process that died is free.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from filelock import FileLock, Timeout

from napari_harm3.artifacts import write_json
from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import Harm3Error, Stopped, sentence
from napari_harm3.jobs.parallel import each, stopping
from napari_harm3.jobs.progress import Job, Progress, finished
from napari_harm3.wsi.files import is_feature_file, stem_of

LOCKS, SUMMARY = ".locks", "summary.json"
FIELDS = (
    "mpp",
    "mpp_source",
    "tissue_fraction",
    "patches",
    "damaged",
    "dim",
)

Row = dict[str, Any]
Opened = TypeVar("Opened")
Steps = Generator[tuple[int, int], None, Row]


@dataclass(frozen=True, kw_only=True)
class SlideTask:
    """One slide of a batch."""

    number: int
    slide: Path
    mpp: float | None = None
    """What its user says of its resolution."""

    problem: str = ""
    """Why it cannot be worked on at all."""

    @property
    def stem(self) -> str:
        """The name of what is made of it."""
        return _stem_of(self.slide)


@dataclass(frozen=True, kw_only=True)
class Work(Generic[Opened]):
    """What is done to each slide; all three travel to other processes by name."""

    open: Callable[[SlideTask], Opened]
    """Begin to read it; done ahead of time where that hides the wait."""

    finish: Callable[[SlideTask, Callable[[], Opened]], Steps]
    """Yield steps done and steps in all, return what the row says; whoever takes what
    was opened closes it."""

    close: Callable[[Opened], None]
    """Close what was opened ahead of time and never taken."""


def tasks_of(
    inputs: Sequence[Path],
    *,
    source_mpp: float | None = None,
    allow_external: bool = False,
) -> list[SlideTask]:
    """Return the slides that files, folders and cohort tables (.csv) name.

    Of two with one stem the second cannot be worked on: its files would overwrite
    those of the first.

    Raises
    ------
    CohortError
        If a cohort table is not right.
    """
    from napari_harm3.wsi.folder import slides_in

    tasks: list[SlideTask] = []
    taken: dict[str, Path] = {}
    for named, mpp in _named(inputs, allow_external=allow_external):
        # The processes of a cluster work in folders of their own.
        slide = named.absolute()
        first = taken.setdefault(_stem_of(slide), slide)
        problem = ""
        if first is not slide and first == slide:
            problem = f"{slide.name} is named twice: name it once."
        elif first is not slide:
            problem = f"{first.name} has the same name without its suffix: rename one."
        elif _is_folder(slide) and not slides_in(slide):
            problem = f"{slide.name} holds no slides: give another folder."
        tasks.append(
            SlideTask(
                number=len(tasks), slide=slide, mpp=mpp or source_mpp, problem=problem
            )
        )
    return tasks


def _stem_of(slide: Path) -> str:
    return slide.name if _is_folder(slide) else stem_of(slide.name)


def _named(
    inputs: Sequence[Path], *, allow_external: bool
) -> Iterator[tuple[Path, float | None]]:
    from napari_harm3.wsi.folder import slides_at

    for given in inputs:
        if given.suffix.lower() == ".csv":
            table = read_cohort(given, allow_external=allow_external)
            for case in table.cases:
                yield from (
                    (slide, mpp)
                    for slide, mpp in zip(case.slides, case.slide_mpp, strict=True)
                    if not is_feature_file(slide)
                )
        else:
            yield from ((slide, None) for slide in slides_at(given))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # it lies where nobody may look: opening it tells why
        return False


def run_batch(
    stage: str,
    tasks: Sequence[SlideTask],
    work: Work[Any],
    *,
    out: Path,
    workers: int,
    scheduler: str | None = None,
) -> Job:
    """Work on every slide, those that another process holds last.

    The rows stand in the order of the slides, also in ``summary.json``.
    """
    rows: dict[int, Row | None] = {}
    if not tasks:
        text = "No slide is named; feature files are passed over."
        yield Progress(stage=stage, warning=text)
    if scheduler is None and (workers == 1 or len(tasks) < 2):
        yield from _one_by_one(stage, tasks, work, out, rows)
    else:
        attempt = partial(_attempt, work, out)
        for task, row in each(
            attempt, tasks, workers=workers, scheduler=scheduler, lost=_lost
        ):
            rows[task.number] = row
            yield Progress(
                stage=stage, step=len(rows), of=len(tasks), text=task.slide.name
            )
    for task in tasks:
        if rows[task.number] is None:
            text = f"{task.slide.name}: another process is at it"
            yield Progress(stage=stage, text=text)
            waited = _patiently(work, out, task)
            rows[task.number] = yield from _shown(stage, task, len(tasks), waited)
    result = {"slides": [rows[task.number] for task in tasks]}
    try:
        write_json(out / SUMMARY, result)
    except OSError as error:
        yield Progress(stage=stage, warning=_told(error, SUMMARY))
    yield finished(stage, result)


def _one_by_one(
    stage: str,
    tasks: Sequence[SlideTask],
    work: Work[Any],
    out: Path,
    rows: dict[int, Row | None],
) -> Job:
    """Work in this process; the next slide is opened while one is worked on."""
    with _Ahead(work) as ahead:
        for task, after in zip(tasks, [*tasks[1:], None], strict=False):
            if after is not None and not after.problem:
                ahead.begin(after)
            steps = _guarded(work, out, task, partial(ahead.take, task))
            rows[task.number] = yield from _shown(stage, task, len(tasks), steps)
            ahead.drop(task)


class _Ahead(Generic[Opened]):
    """Opens slides in a thread before their turn; closes those that nobody took."""

    def __init__(self, work: Work[Opened]) -> None:
        self._work = work
        self._pool = ThreadPoolExecutor(1)
        self._begun: dict[SlideTask, Future[Opened]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for task in list(self._begun):
            self.drop(task)
        self._pool.shutdown()

    def begin(self, task: SlideTask) -> None:
        """Begin to open a slide."""
        self._begun[task] = self._pool.submit(self._work.open, task)

    def take(self, task: SlideTask) -> Opened:
        """Return a slide that was opened, or is opened now; it is the taker's."""
        begun = self._begun.pop(task, None)
        return self._work.open(task) if begun is None else begun.result()

    def drop(self, task: SlideTask) -> None:
        """Close a slide unless it was taken, or never begun."""
        begun = self._begun.pop(task, None)
        if begun is None or begun.cancel():
            return
        if begun.exception() is None:  # it waits: what is open then can be closed
            self._work.close(begun.result())


def _shown(
    stage: str,
    task: SlideTask,
    count: int,
    steps: Generator[tuple[int, int], None, Any],
) -> Generator[Progress, None, Any]:
    where = stage if count == 1 else f"{stage}, slide {task.number + 1} of {count}"
    try:
        while True:
            done, of = next(steps)
            yield Progress(stage=where, step=done, of=of, text=task.slide.name)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


def _attempt(work: Work[Any], out: Path, task: SlideTask) -> Row | None:
    """Work on a slide in a worker process; None if another process holds it."""
    steps = _guarded(work, out, task, partial(work.open, task))
    while not stopping():
        try:
            next(steps)
        except StopIteration as end:
            return end.value
    steps.close()
    raise Stopped("Stopped; what was finished is kept.")


def _patiently(work: Work[Any], out: Path, task: SlideTask) -> Steps:
    """Wait until nobody else holds the slide; then it is usually done already."""
    while True:
        row = yield from _guarded(work, out, task, partial(work.open, task))
        if row is not None:
            return row
        yield 0, 0
        time.sleep(1)


def _guarded(
    work: Work[Any], out: Path, task: SlideTask, opened: Callable[[], Any]
) -> Generator[tuple[int, int], None, Row | None]:
    """Return a slide's row whatever happens; None if another process holds it."""
    started = time.monotonic()
    row = _blank(task)
    if task.problem:
        return row
    try:
        with _locked(out, task.stem) as ours:
            if not ours:
                return None
            row |= yield from work.finish(task, opened)
    except Exception as error:  # noqa: BLE001 - one bad slide never stops the rest
        row["message"] = _told(error, task.slide.name)
    row["seconds"] = round(time.monotonic() - started, 3)
    return row


@contextmanager
def _locked(out: Path, stem: str) -> Iterator[bool]:
    folder = out / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    # Whichever thread ends a job lets go of its lock.
    lock = FileLock(folder / f"{stem}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _told(error: Exception, name: str) -> str:
    """Return what went wrong in a sentence; a bug also leaves its traceback.

    Parameters
    ----------
    error
        What was raised.
    name
        Whose work it was, where the error does not name a file.
    """
    if isinstance(error, (Harm3Error, OSError)):
        return sentence(error, name)
    logging.getLogger(__name__).error("A slide failed.", exc_info=error)
    return (
        f"An unexpected fault ({type(error).__name__}: {error}): please report it, "
        "with the trace above."
    )


def _lost(task: SlideTask, error: Exception | None) -> Row:
    if error is None:
        message = (
            f"{task.slide.name} took down the process that read it, by its damage or "
            "its size: copy it again, or use fewer --workers."
        )
    else:
        message = _told(error, task.slide.name)
    return {**_blank(task), "message": message}


def _blank(task: SlideTask) -> Row:
    try:
        slide = task.slide.resolve()
    except (OSError, RuntimeError):  # links that go round in circles
        slide = task.slide
    return {
        "slide": str(slide),
        "status": "failed",
        "message": task.problem,
        **dict.fromkeys((*FIELDS, "seconds")),
    }
