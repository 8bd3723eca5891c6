"""What a run folder says of a run, read on event by event. No Qt, no torch."""

import csv
import json
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

EVENTS, PLAN = "events.jsonl", "run.toml"
ENDS = ("done", "stopped", "failed")
SAID = ("warning", "left_out", "note")
Stage = Literal["", "preparing", "training"]
Event = dict[str, Any]


@dataclass
class FoldState:
    """How far a fold is."""

    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    finished: bool = False
    active: bool = False
    """Whether it said something since the process began."""

    failed: bool = False
    """Whether the run ended for it."""

    loss: dict[int, float] = field(default_factory=dict)
    """By epoch."""

    auc: dict[int, float] = field(default_factory=dict)
    """The same, on the inner part."""

    held_out: float | None = None
    """AUC on the cases that the fold held out."""

    @property
    def share(self) -> float:
        """Which part of it is done."""
        return 1.0 if self.finished else self.epoch / max(self.epochs, 1)

    @property
    def words(self) -> str:
        """How far it is, for people."""
        if self.finished:
            auc = self.held_out
            return "finished" if auc is None else f"finished, held-out AUC {auc:.3f}"
        if not self.epochs:
            return "training" if self.active else "waiting"
        loss = f", loss {self.loss[self.epoch]:.3f}" if self.epoch in self.loss else ""
        return f"epoch {self.epoch} of {self.epochs}{loss}"


class RunState:
    """Follows the events of a folder; `read` takes in what is new.

    Parameters
    ----------
    folder
        Of a run, or of a table and its runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folds: dict[int, FoldState] = {}
        self.stage: Stage = ""
        self.text = ""
        """What is being prepared, or why it ended."""

        self.ended = ""
        """One of `ENDS`, or nothing."""

        self.paused = False
        self.begins = 0
        """How often a process began to work here."""

        self.pid: int | None = None
        self.begun = 0.0
        """When the last one began, in seconds since 1970."""

        self.heard = 0.0
        """When the last event was noted."""

        self.about: Event = {}
        """What the process said of itself as it began."""

        self.said: dict[str, str] = {}
        """Notes and warnings, once each, and their kind."""

        self.metrics: Event | None = None
        self.plan: Event = {}
        """``run.toml``, unchecked: to read it by its class loads other packages."""

        self.worked = 0.0
        """Seconds that the last process trained, its pauses left out."""

        self._offset = 0
        self._first = b""
        """The line that the events begin with: no other run has the same."""

        self._count: int | None = None
        self._share = 0.0

    @property
    def folders(self) -> list[Path]:
        """Where the process looks for ``stop`` and ``pause``."""
        return [self.folder]

    @property
    def count(self) -> int:
        """Folds in all, as far as is known."""
        planned = int(self.plan.get("folds", 0)) * int(self.plan.get("repeats", 1))
        return max(self._count or planned, len(self.folds))

    @property
    def done(self) -> float:
        """Folds that are done, begun ones in part."""
        return sum(fold.share for fold in self.folds.values())

    @property
    def gained(self) -> float:
        """The same, by the last process alone."""
        return self.done - self._share

    @property
    def running(self) -> list[int]:
        """Folds that the process at work has begun."""
        return sorted(
            number
            for number, fold in self.folds.items()
            if fold.active and not fold.finished and not self.ended
        )

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at the pace so far; None while nobody knows."""
        if self.gained <= 0 or self.worked <= 0 or self.ended:
            return None
        return (self.count - self.done) * self.worked / self.gained

    def read(self) -> bool:
        """Take in what is new, and forget a run that is gone; return whether any is."""
        path = self.folder / EVENTS
        gone = self._offset > 0 and not self._goes_on(path)
        if gone:
            self._forget()
        if not path.exists():
            return gone
        if not self.plan:
            self._read_plan()
        if self._count is None and (self.folder / "folds.csv").exists():
            self._count_folds()
        before = self._offset
        with path.open("rb") as stream:
            stream.seek(self._offset)
            while (line := stream.readline()).endswith(b"\n"):
                self._first = self._first or line
                self._offset = stream.tell()
                # A line that a full disk has spoilt is no reason to hear no others.
                with suppress(ValueError):
                    self._take(json.loads(line))
        return gone or self._offset > before

    def _goes_on(self, path: Path) -> bool:
        """Return whether a file still holds what was read of it."""
        try:
            with path.open("rb") as stream:
                same = stream.readline() == self._first
            return same and path.stat().st_size >= self._offset
        except FileNotFoundError:
            return False

    def _forget(self) -> None:
        begins = self.begins
        vars(self).update(vars(type(self)(self.folder)))
        self.begins = begins  # else the next process were taken for one heard before

    def _take(self, event: Event) -> None:
        now = datetime.fromisoformat(event["time"]).timestamp()
        kind, text = event["kind"], str(event.get("text", ""))
        if self.stage == "training" and not self.paused:
            self.worked += now - self.heard
        self.heard = now
        self.paused = kind == "paused"
        if kind == "begun":
            self._begin(event)
        elif kind in ENDS:
            self._end(event)
        elif kind == "preparing":
            of = f" {event['step']} of {event['of']}" if event["of"] else ""
            self.stage, self.text = "preparing", f"{event['stage']}{of}"
        else:
            if kind in SAID and text:
                self.said[text] = kind
            if "fold" in event:
                self._take_fold(
                    self.folds.setdefault(event["fold"], FoldState()), event
                )

    def _begin(self, event: Event) -> None:
        self.begins += 1
        self.pid, self.begun = event["pid"], self.heard
        self.about = event
        self.ended, self.text, self.stage, self.metrics = "", "", "", None
        self.worked, self._share = 0.0, self.done
        for fold in self.folds.values():
            fold.active = fold.failed = False

    def _end(self, event: Event) -> None:
        self.ended, self.text = event["kind"], str(event.get("text", ""))
        self.metrics = event.get("metrics")
        if "fold" in event:  # not where the run as a whole could not go on
            self.folds.setdefault(event["fold"], FoldState()).failed = True

    def _take_fold(self, fold: FoldState, event: Event) -> None:
        if self.stage != "training":
            # The time of an epoch that is over counts, though none was heard of it.
            self.worked = event.get("seconds", 0.0)
            self._share = self.done
            self.stage = "training"
        fold.active = True
        kind = event["kind"]
        if kind == "step":
            fold.step, fold.steps = event["step"], event["steps"]
        elif kind == "epoch":
            epoch = event["epoch"]
            fold.epoch, fold.epochs, fold.step = epoch, event["epochs"], 0
            # A run that goes on from a saved state makes some epochs again.
            for line, value in ((fold.loss, event["loss"]), (fold.auc, event["auc"])):
                for later in [one for one in line if one >= epoch]:
                    del line[later]
                if value is not None:
                    line[epoch] = value
        elif kind == "fold":
            fold.finished = True
            fold.held_out = event.get("auc", fold.held_out)

    def _read_plan(self) -> None:
        try:
            text = (self.folder / PLAN).read_text(encoding="utf-8")
            self.plan = tomllib.loads(text)
        except (OSError, tomllib.TOMLDecodeError):
            self.plan = {}

    def _count_folds(self) -> None:
        with (self.folder / "folds.csv").open(newline="", encoding="utf-8") as stream:
            self._count = len({row["fold"] for row in csv.DictReader(stream)})


def in_words(seconds: float) -> str:
    """Return a time that is left as people say it.

    Examples
    --------
    >>> in_words(200), in_words(20), in_words(9000)
    ('about 3 min left', 'less than a minute left', 'about 2 h 30 min left')
    """
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute left"
    hours, rest = divmod(minutes, 60)
    spans = [f"{hours} h"] if hours else []
    spans += [f"{rest} min"] if rest else []
    return f"about {' '.join(spans)} left"
