"""Run a job for the command line: progress on stderr, the result on stdout."""

import json as json_text
import signal
import sys
from collections.abc import Callable
from typing import Any, Self

from tqdm import tqdm

from napari_harm3.cli.ending import stopped
from napari_harm3.errors import Harm3Error, sentence
from napari_harm3.jobs.progress import Job, Progress

Result = dict[str, Any]


def show(
    job: Job,
    *,
    json: bool,
    summary: Callable[[Result], str],
    failed: Callable[[Result], bool] = lambda _: False,
) -> int:
    """Return the exit code of a job: 0 done, 1 the user can put it right, 130 stopped.

    Parameters
    ----------
    job
        What to run.
    json
        Print the result as one JSON object.
    summary
        What to print of the result otherwise.
    failed
        Whether a result, complete as it is, holds something to put right.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        result = _follow(job)
    except (Harm3Error, OSError) as error:
        return refuse(error, json=json)
    except KeyboardInterrupt:
        return stopped()
    print(json_text.dumps(result, allow_nan=False) if json else summary(result))
    return int(failed(result))


def refuse(error: Exception, *, json: bool) -> int:
    """Say in one line what the user can put right; return 1."""
    text = " ".join(sentence(error).split())
    print(f"harm3: {text}", file=sys.stderr)
    if json:
        kind = type(error).__name__
        print(json_text.dumps({"error": {"type": kind, "message": text}}))
    return 1


def any_case_failed(result: Result) -> bool:
    """Return whether any file of a case failed, having said which and why."""
    for fault in result["failed"]:
        column = f", {fault['column']}" if fault["column"] else ""
        print(f"{fault['case_id']}{column}: {fault['message']}", file=sys.stderr)
    return bool(result["failed"])


def unanswered(row: Result) -> bool:
    """Return whether a case got no probability, having said which and why."""
    if row["probability"] is not None:
        return False
    case = f"Case {row['case_id']}"
    said = row["message"]
    told = said if said.startswith(case) else f"{case}: {said}"
    print(f"harm3: {told}", file=sys.stderr)
    return True


def _follow(job: Job) -> Result:
    result: Result = {}
    try:
        with _Bar() as bar:
            for message in job:
                if message.warning:
                    tqdm.write(f"harm3: {message.warning}", file=sys.stderr)
                bar.draw(message)
                result = message.result or result
    finally:
        job.close()
    return result


class _Bar:
    """One bar a stage on stderr; whatever happens, it ends with its line."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._stage = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def draw(self, message: Progress) -> None:
        """Draw how far a stage is."""
        if message.result is not None or not message.of:
            return
        if self._bar is None or self._stage != message.stage:
            self._begin(message)
        assert self._bar is not None
        self._bar.total, self._bar.n = message.of, message.step
        self._bar.set_postfix_str(message.text, refresh=False)
        self._bar.refresh()

    def _begin(self, message: Progress) -> None:
        if self._bar is not None:
            self._bar.close()
        self._stage = message.stage
        # It is not drawn as it is made: a stop just then would leave it open.
        self._bar = tqdm(
            total=message.of,
            desc=message.stage,
            file=sys.stderr,
            bar_format="{desc:<10} {bar:30} {n_fmt}/{total_fmt} {elapsed}{postfix}",
            delay=1,
        )
        self._bar.delay = 0


def _interrupt(*_: object) -> None:
    # A polite kill stops a job as Ctrl+C does: between steps, keeping what is done.
    raise KeyboardInterrupt
