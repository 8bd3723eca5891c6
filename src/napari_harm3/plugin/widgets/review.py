"""Panel: what the reader says of a case, before and after seeing the prediction."""

import getpass
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from napari.utils.notifications import show_error
from napari.utils.theme import get_theme
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import (
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_harm3.cohort.case import Case
from napari_harm3.errors import Harm3Error
from napari_harm3.jobs import review
from napari_harm3.plugin.keys import REVIEW, bind_keys
from napari_harm3.plugin.session import Leaving, Session
from napari_harm3.plugin.widgets.parts import TITLE, Scrolled, may_lose, note
from napari_harm3.plugin.widgets.toggles import Toggles

READINGS = dict(zip(get_args(review.Reading), ("pCR", "no pCR"), strict=True))
GRADES = {str(grade): str(grade) for grade in range(1, 6)}
VERDICTS = {name: name.capitalize() for name in get_args(review.Verdict)}
FLAGS = {name: name.capitalize() for name in get_args(review.Flag)}
PAUSE_MS = 3000
"""After so long without a word what was said is kept as a draft."""

SAY_SOMETHING = "Open a case and say something of it"
UNSEEN = "not in sight yet"
ALONE = "Compute the explanation when you have read the case by yourself."
UNREAD = "No reading of your own was given before the prediction came in sight."


@dataclass(kw_only=True)
class _Open:
    """The case that is read, and what is in sight of its prediction."""

    case: Case
    work: Path
    began: float = field(default_factory=time.monotonic)
    probability: float | None = None
    model: str = ""
    first: dict[str, Any] = field(default_factory=dict)
    """What the reader said before the prediction came in sight."""

    damaged: bool = False
    """Whether its file is no review, so that nothing can be kept until it is aside."""


class ReviewWidget(QWidget):
    """Own reading first, then a verdict on the prediction; kept as JSON and a table.

    What was said and not saved is kept as a draft, at the latest when another case is
    opened; where that fails, the case is left only if the reader says so.
    """

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = Session.of(napari_viewer)
        self._open: _Open | None = None
        self._unsaved = False
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        self._pause.timeout.connect(lambda: self.save(draft=True))
        self.case_label = note("-", TITLE)
        self.reading = Toggles(READINGS, tip="What you expect the pathologist to find")
        self.confidence = Toggles(GRADES, tip="1: a guess, 5: certain")
        self.prediction = QProgressBar()
        self.prediction.setRange(0, 1000)
        self.verdict = Toggles(VERDICTS, tip="What you say of the prediction")
        self.localisation = Toggles(
            GRADES, tip="Do the heat maps lie on what you see? 1: nowhere, 5: exactly"
        )
        self.flags = Toggles(
            FLAGS, several=True, tip="What is wrong with this case, or to come back to"
        )
        self.comment = QPlainTextEdit()
        self.comment.setPlaceholderText("What did you see?")
        self.comment.setMaximumHeight(70)
        self.draft_button = QPushButton("Save draft")
        self.draft_button.clicked.connect(lambda: self.save(draft=True))
        self.save_button = QPushButton("Save and next")
        self.save_button.clicked.connect(self.save_and_next)
        self.aside_button = QPushButton("Set aside, and review anew")
        self.aside_button.setToolTip("Rename the damaged file; it is not deleted")
        self.aside_button.clicked.connect(self._set_aside)
        self.status = note("")
        self._dress()
        self._lay_out()
        self._hear()
        self._forget()
        if self.session.case is not None:
            self._case_changed(self.session.case)
        if self.session.explanation is not None:
            self._explained(self.session.explanation)
        bind_keys(napari_viewer, self, REVIEW)

    def _hear(self) -> None:
        for row in (self.reading, self.confidence, self.verdict, self.localisation):
            row.changed.connect(self._say)
        self.flags.changed.connect(self._say)
        self.comment.textChanged.connect(self._say)
        self.session.leaving.connect(self._leave)
        self.session.cohort_changed.connect(self._forget)
        self.session.case_changed.connect(self._case_changed)
        self.session.explained.connect(self._explained)

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take the colours of another theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange:
            self._dress()

    def _dress(self) -> None:
        """Give the comment the ground of a line, which napari's style leaves out."""
        ground = get_theme(self.session.viewer.theme).primary.as_hex()
        self.comment.setStyleSheet(
            f"QPlainTextEdit {{ background-color: {ground}; border-radius: 2px; }}"
        )

    def save_and_next(self) -> None:
        """Keep what was said as final, and open the next case of the list."""
        if self.save():
            self.session.step(1)

    def save(self, *, draft: bool = False) -> bool:
        """Keep what was said, and all that was said before; return whether it was."""
        now = self._open
        if now is None or not self._said():
            return False
        try:
            path = review.save(
                now.work,
                review.record(
                    case_id=now.case.case_id,
                    **self._own(),
                    **now.first,
                    verdict=self.verdict.value,
                    localisation=_grade(self.localisation),
                    flags=self.flags.chosen,
                    comment=self.comment.toPlainText().strip(),
                    draft=draft,
                    seconds=round(time.monotonic() - now.began, 1),
                    reader=getpass.getuser(),
                    model=now.model,
                    probability=now.probability,
                ),
            )
        except (Harm3Error, OSError) as error:
            show_error(_why(error, now.work))
            return False
        self._unsaved = False
        self._pause.stop()
        self.status.setText(f"Saved{' as a draft' if draft else ''}: {path.name}.")
        self.session.reviewed.emit()
        return True

    def _lay_out(self) -> None:
        alone = QGroupBox("1  Your own reading")
        form = QFormLayout(alone)
        form.addRow("Answer", self.reading)
        form.addRow("Confidence", self.confidence)
        self.with_prediction = QGroupBox("2  With the prediction")
        form = QFormLayout(self.with_prediction)
        form.addRow("p(pCR)", self.prediction)
        form.addRow("Verdict", self.verdict)
        form.addRow("Heat maps", self.localisation)
        buttons = QHBoxLayout()
        buttons.addWidget(self.draft_button)
        buttons.addWidget(self.save_button)
        content = QWidget()
        column = QVBoxLayout(content)
        column.addWidget(self.case_label)
        column.addWidget(alone)
        column.addWidget(self.with_prediction)
        column.addWidget(QLabel("Flags"))
        column.addWidget(self.flags)
        column.addWidget(self.comment)
        column.addLayout(buttons)
        column.addWidget(self.status)
        column.addWidget(self.aside_button)
        column.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(Scrolled(content))

    def _own(self) -> dict[str, Any]:
        return {"reading": self.reading.value, "confidence": _grade(self.confidence)}

    def _said(self) -> bool:
        rows = (self.reading, self.confidence, self.verdict, self.localisation)
        return any(row.chosen for row in (*rows, self.flags)) or bool(
            self.comment.toPlainText().strip()
        )

    def _say(self) -> None:
        self._unsaved = True
        self._pause.start()
        self._enable()

    def _leave(self, leaving: Leaving) -> None:
        """Keep what was said; where that fails, ask whether to go on without it."""
        lost = self._unsaved and self._said() and not self.save(draft=True)
        if lost:
            leaving.allowed = leaving.allowed and self._lose()

    def _lose(self) -> bool:
        assert self._open is not None
        return may_lose(
            self,
            "The review cannot be kept",
            f"What was said of {self._open.case.case_id} is lost if you go on. Cancel "
            f"to stay, put {_folder(self._open.work)} right, and save again.",
        )

    def _forget(self) -> None:
        """Show no case."""
        self._open = None
        self.case_label.setText("-")
        self.status.setText("")
        self._show(review.record(case_id=""))

    def _case_changed(self, case: Case) -> None:
        self._forget()
        self._open = now = _Open(case=case, work=self.session.work)
        self.case_label.setText(case.case_id)
        self.status.setText(ALONE)
        try:
            earlier = review.load(now.work, case.case_id)
        except Harm3Error as error:
            self.status.setText(str(error))
            earlier, now.damaged = None, True
        if earlier is not None:
            if earlier.probability is not None:
                now.probability, now.model = earlier.probability, earlier.model
                now.first = {
                    "first_reading": earlier.first_reading,
                    "first_confidence": earlier.first_confidence,
                }
            done = "Draft of" if earlier.draft else "Reviewed on"
            when = local_time(earlier.time)
            self.status.setText(f"{done} {when} by {earlier.reader}.")
            self._show(earlier)
        self._enable()

    def _set_aside(self) -> None:
        """Review the case anew; its damaged file stays under another name."""
        now = self._open
        if now is None:
            return
        try:
            path = review.set_aside(now.work, now.case.case_id)
        except OSError as error:
            show_error(_why(error, now.work))
            return
        now.damaged = False
        self.status.setText(f"The damaged file is now {path.name}.")
        self._enable()
        self.session.reviewed.emit()

    def _show(self, said: review.ReviewRecord) -> None:
        """Put down what was said, and nothing else."""
        self.reading.choose([said.reading])
        self.confidence.choose([said.confidence])
        self.verdict.choose([said.verdict])
        self.localisation.choose([said.localisation])
        self.flags.choose(said.flags)
        self.comment.setPlainText(said.comment)
        self._tell(said.probability, "then")
        self._unsaved = False
        self._pause.stop()
        self._enable()

    def _tell(self, probability: float | None, seen: str) -> None:
        """Bring a prediction in sight, or out of it."""
        self.prediction.setValue(round(1000 * (probability or 0)))
        known = probability is not None
        self.prediction.setFormat(f"{probability:.2f}  ({seen})" if known else UNSEEN)

    def _explained(self, explanation: dict[str, Any]) -> None:
        now = self._open
        if now is None:
            return
        if now.probability is None:
            own = self._own()
            now.first = {f"first_{name}": value for name, value in own.items()}
            if not now.damaged:
                self.status.setText("" if own["reading"] else UNREAD)
        now.probability = explanation["probability"]
        chosen = self.session.model.name if self.session.model else ""
        now.model = explanation.get("model", chosen)
        self._tell(now.probability, explanation["seen"])
        self._enable()

    def _enable(self) -> None:
        now = self._open
        self.aside_button.setVisible(now is not None and now.damaged)
        able = now is not None and not now.damaged
        seen = now is not None and now.probability is not None
        self.with_prediction.setEnabled(able and seen)
        for part in (self.reading, self.confidence, self.flags, self.comment):
            part.setEnabled(able)
        ready = able and self._said()
        for button in (self.draft_button, self.save_button):
            button.setEnabled(ready)
            button.setToolTip("" if ready else SAY_SOMETHING)


def local_time(time: str) -> str:
    """Return when it was on the reader's clock; what is no time stays as it is."""
    with suppress(ValueError):
        return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M}"
    return time


def _why(error: Exception, work: Path) -> str:
    """Return why a review could not be saved; the reader needs to know where."""
    if not isinstance(error, OSError):
        return str(error)
    return (
        f"The review cannot be kept in {_folder(work)}: {error.strerror}. Put the "
        "folder right, and save again."
    )


def _folder(work: Path) -> str:
    """Return where reviews are kept, beside the cohort's table; no whole path."""
    return f"{work.name}/{review.FOLDER}"


def _grade(row: Toggles) -> int | None:
    return None if row.value is None else int(row.value)
