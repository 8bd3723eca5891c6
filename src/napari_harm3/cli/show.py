"""Run a job for the command line: progress on stderr, the result on stdout."""

import json as json_text
import signal
import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from napari_harm3.errors import Harm3Error
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
        print("Stopped; what was finished is kept.", file=sys.stderr)
        return 130
    print(json_text.dumps(result, allow_nan=False) if json else summary(result))
    return int(failed(result))


def refuse(error: Exception, *, json: bool) -> int:
    """Say in one line what the user can put right; return 1."""
    text = " ".join(str(error).split())
    print(f"harm3: {text}", file=sys.stderr)
    if json:
        kind = type(error).__name__
        print(json_text.dumps({"error": {"type": kind, "message": text}}))
    return 1


def _follow(job: Job) -> Result:
    result: Result = {}
    bar: tqdm[Any] | None = None
    try:
        for message in job:
            if message.warning:
                tqdm.write(f"harm3: {message.warning}", file=sys.stderr)
            bar = _draw(bar, message)
            result = message.result or result
    finally:
        if bar is not None:
            bar.close()
        close = getattr(job, "close", None)
        if close is not None:
            close()
    return result


def _draw(bar: "tqdm[Any] | None", message: Progress) -> "tqdm[Any] | None":
    """Draw one bar a stage."""
    if message.result is not None or not message.of:
        return bar
    if bar is None or bar.desc.rstrip(": ") != message.stage:
        if bar is not None:
            bar.close()
        bar = tqdm(
            total=message.of,
            desc=message.stage,
            file=sys.stderr,
            bar_format="{desc:<10} {bar:30} {n_fmt}/{total_fmt} {elapsed}{postfix}",
        )
    bar.total = message.of
    bar.n = message.step
    bar.set_postfix_str(message.text, refresh=False)
    bar.refresh()
    return bar


def _interrupt(*_: object) -> None:
    # A polite kill stops a job as Ctrl+C does: between steps, keeping what is done.
    raise KeyboardInterrupt
