"""Panel: what the reader says of the prediction."""

import getpass
from typing import Any

from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtWidgets import (
    QButtonGroup,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_harm3.cohort.case import Case
from napari_harm3.errors import Harm3Error, sentence
from napari_harm3.jobs import review
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.parts import note

VERDICTS = ("agree", "unsure", "disagree")


class ReviewWidget(QWidget):
    """Agree, unsure or disagree, a comment, saved as JSON beside the cohort."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = Session.of(napari_viewer)
        self.case_label = QLabel("-")
        self.prediction = QLabel("not computed")
        self.verdicts = QButtonGroup(self)
        row = QHBoxLayout()
        self.buttons: dict[str, QPushButton] = {}
        for verdict in VERDICTS:
            button = QPushButton(verdict.capitalize())
            button.setCheckable(True)
            self.verdicts.addButton(button)
            self.buttons[verdict] = button
            row.addWidget(button)
        self.comment = QPlainTextEdit()
        self.comment.setPlaceholderText("What did you see?")
        self.comment.setMaximumHeight(90)
        self.save_button = QPushButton("Save")
        self.save_button.clicked.connect(self.save)
        self.status = note("")
        form = QFormLayout()
        form.addRow("Case", self.case_label)
        form.addRow("p(pCR)", self.prediction)
        form.addRow(row)
        form.addRow(self.comment)
        form.addRow(self.save_button)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.status)
        layout.addStretch(1)
        self.verdicts.buttonClicked.connect(lambda _: self._enable())
        self.session.cohort_changed.connect(self._forget)
        self.session.case_changed.connect(self._case_changed)
        self.session.explained.connect(self._explained)
        self._enable()
        if self.session.case is not None:
            self._case_changed(self.session.case)

    def verdict(self) -> str | None:
        """Return the chosen verdict."""
        return next((v for v, b in self.buttons.items() if b.isChecked()), None)

    def save(self) -> None:
        """Write the verdict; the earlier ones of the case are kept."""
        case, verdict = self.session.case, self.verdict()
        if case is None or verdict is None:
            return
        explanation = self.session.explanation or {}
        try:
            path = review.save(
                self.session.work / "reviews",
                review.record(
                    case_id=case.case_id,
                    verdict=verdict,
                    comment=self.comment.toPlainText().strip(),
                    reader=getpass.getuser(),
                    model=self.session.model.name if self.session.model else "",
                    probability=explanation.get("probability"),
                ),
            )
        except (Harm3Error, OSError) as error:
            show_error(sentence(error, "The review"))
            return
        self.status.setText(f"Saved: {path.name}, {verdict}.")

    def _forget(self) -> None:
        """Keep nothing of a case."""
        self.case_label.setText("-")
        self.prediction.setText("not computed")
        self.comment.clear()
        self.verdicts.setExclusive(False)
        for button in self.buttons.values():
            button.setChecked(False)
        self.verdicts.setExclusive(True)
        self.status.setText("")
        self._enable()

    def _case_changed(self, case: Case) -> None:
        self._forget()
        self.case_label.setText(case.case_id)
        self.status.setText("Not reviewed yet.")
        try:
            earlier = review.load(self.session.work / "reviews").get(case.case_id)
        except Harm3Error as error:
            self.status.setText(str(error))
            return
        if earlier is not None:
            self.buttons[earlier.verdict].setChecked(True)
            self.comment.setPlainText(earlier.comment)
            self.status.setText(f"Reviewed {earlier.time[:16]} by {earlier.reader}.")
            self._enable()

    def _explained(self, explanation: dict[str, Any]) -> None:
        self.prediction.setText(
            f"{explanation['probability']:.2f} ({explanation['seen']})"
        )

    def _enable(self) -> None:
        ready = self.session.case is not None and self.verdict() is not None
        self.save_button.setEnabled(ready)
        self.save_button.setToolTip("" if ready else "Open a case and choose a verdict")
