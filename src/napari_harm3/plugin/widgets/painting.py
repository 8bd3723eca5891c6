"""Part of the Cases panel: what was painted on a case, which the cohort does not hold.

As the Review panel's drafts, it is kept whenever the case is left, and found again.
"""

from pathlib import Path

from napari.utils.notifications import show_error
from qtpy.QtWidgets import QHBoxLayout, QMessageBox, QPushButton, QWidget

from napari_harm3.cohort.case import TITLES, Case
from napari_harm3.errors import Harm3Error, sentence
from napari_harm3.plugin.painted import FOLDER, discard, keep, kept
from napari_harm3.plugin.session import Leaving, Session
from napari_harm3.plugin.widgets.parts import may_lose, note

TIP = "Show the cohort's own annotations again; what was painted is deleted"


class Painting(QWidget):
    """Keeps what was painted, says that it is shown, and lets it be discarded."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._case: Case | None = None
        self._folder = Path()
        self.text = note()
        self.discard_button = QPushButton("Discard")
        self.discard_button.setToolTip(TIP)
        self.discard_button.clicked.connect(self._discard)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.text, 1)
        row.addWidget(self.discard_button)
        session.leaving.connect(self._leave)
        self.hide()

    def folder(self, case: Case) -> Path:
        """Return where what is painted on a case of the cohort is kept."""
        return self._session.work / FOLDER / case.case_id

    def offer(self, case: Case) -> None:
        """Take a case that hangs now."""
        self._case, self._folder = case, self.folder(case)
        roles = kept(self._folder)
        self.setVisible(bool(roles))
        self.text.setText(
            f"Painted here, and kept: {', '.join(TITLES[role] for role in roles)}. "
            "Figures and training still go by the cohort's own files."
        )

    def forget(self) -> None:
        """Take it that no case hangs."""
        self._case = None
        self.hide()

    def _leave(self, leaving: Leaving) -> None:
        """Keep what was painted; where that fails, ask whether to go on without it."""
        hanging = self._session.hanging
        if self._case is None:
            return
        try:
            keep(hanging.painted, self._folder)
        except (Harm3Error, OSError) as error:
            why = sentence(error, self._folder.name)
            leaving.allowed = leaving.allowed and self._lose(why)
        else:
            hanging.keep_painted()

    def _lose(self, why: str) -> bool:
        assert self._case is not None
        return may_lose(
            self,
            "What was painted cannot be kept",
            f"{why}\n\nWhat was painted on {self._case.case_id} is lost if you go on. "
            "Cancel to stay, and save its annotation layers elsewhere by File > Save.",
        )

    def _discard(self) -> None:
        case = self._case
        if case is None:
            return
        answer = QMessageBox.question(
            self,
            "Discard what was painted",
            f"Delete all that was painted on the annotations of {case.case_id}, and "
            "show the cohort's own?",
        )
        if answer != QMessageBox.StandardButton.Yes:
            return
        self.forget()  # else it would be kept once more
        try:
            if self._session.may_leave():
                discard(self._folder)
                self._session.open_anew()
                return
        except OSError as error:
            show_error(sentence(error, self._folder.name))
        self.offer(case)
