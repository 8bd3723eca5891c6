"""Panel: the cases of a cohort; open one and it hangs."""

from pathlib import Path

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtWidgets import (
    QHBoxLayout,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_harm3.cohort.case import TITLES, Case
from napari_harm3.cohort.table import Cohort, external_files, table_faults
from napari_harm3.errors import Harm3Error
from napari_harm3.notices import PHANTOM
from napari_harm3.plugin.keys import CASES, bind_keys
from napari_harm3.plugin.layers import DrawnVolume, draw_case, tilt
from napari_harm3.plugin.painted import as_painted
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.align_button import AlignButton
from napari_harm3.plugin.widgets.case_list import CaseList
from napari_harm3.plugin.widgets.painting import Painting
from napari_harm3.plugin.widgets.parts import WARNING, PathField, Scrolled, note

MOST_FAULTS = 6
"""Of a table, that have room in the panel."""


class CasesWidget(QWidget):
    """Choose a cohort, choose a case, see its volumes and its slide."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = Session.of(napari_viewer)
        self.table_path = PathField(
            "cohort.csv", pattern="Cohort table (*.csv)", chosen=self.open_cohort
        )
        self.list = CaseList(self.session)
        self.list.refilled.connect(self._enable)
        self.list.faulty.connect(lambda _: self._warn([]))
        self.open_button = QPushButton("Open")
        self.open_button.clicked.connect(self.list.open_selected)
        self.previous_button = QPushButton("Previous")
        self.previous_button.clicked.connect(lambda: self.session.step(-1))
        self.next_button = QPushButton("Next")
        self.next_button.clicked.connect(lambda: self.session.step(1))
        self.align_button = AlignButton(self.session)
        self.painting = Painting(self.session)
        self.status = note("Choose a cohort table, or File > Open Sample > HARM3.")
        self.faults = note("", WARNING)
        self._problems: list[str] = []
        self.align_button.told.connect(self.status.setText)
        self.align_button.warned.connect(self._warn)
        buttons = QHBoxLayout()
        for button in (self.open_button, self.previous_button, self.next_button):
            buttons.addWidget(button)
        buttons.addWidget(self.align_button)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.addWidget(self.table_path)
        layout.addWidget(self.list, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.status)
        layout.addWidget(self.painting)
        layout.addWidget(self.faults)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(Scrolled(content))
        self._enable()
        self.session.cohort_changed.connect(self._take_down)
        self.session.cohort_changed.connect(self._show_cohort)
        self.session.case_changed.connect(self._load)
        if self.session.cohort is not None:
            self._show_cohort(self.session.cohort)
        bind_keys(napari_viewer, self, CASES)

    def open_cohort(self, path: Path) -> None:
        """Read a table; one that is not in order is told, and changes nothing."""
        outside = False
        try:
            outside = self._accepted(path)
            self.session.open_cohort(path, allow_external=outside)
        except Harm3Error as error:
            faults = table_faults(path, allow_external=outside)
            show_error(faults[0] if faults else str(error))
            self._warn(faults[:MOST_FAULTS])
        else:  # a panel may have kept the cohort before
            if self.session.cohort is not None:
                self.table_path.set_path(self.session.cohort.path)

    def _accepted(self, path: Path) -> bool:
        """Ask whether files outside the table's folder may be opened, if there are."""
        outside = external_files(path)
        if not outside:
            return False
        answer = QMessageBox.question(
            self,
            "Files outside the cohort's folder",
            f"{path.name} names {len(outside)} files that lie outside its folder, "
            f"first {outside[0].name}. Open them?",
        )
        return answer == QMessageBox.StandardButton.Yes

    def _take_down(self) -> None:
        """Hang nothing of the cohort before; a slide that was opened alone stays."""
        self.painting.forget()
        if not self.session.hanging.empty:
            self.session.hanging.clear()
            self.session.slide_view().clear()

    def _show_cohort(self, cohort: Cohort) -> None:
        self.table_path.set_path(cohort.path)
        self._problems = [warning.message for warning in cohort.warnings[:3]]
        self.list.read()
        made_up = f" {PHANTOM.capitalize()}." if cohort.made_up else ""
        self.status.setText(f"{cohort.name}: {len(cohort.cases)} cases.{made_up}")

    def _enable(self) -> None:
        some = bool(self.session.listed)
        for button in (self.open_button, self.previous_button, self.next_button):
            button.setEnabled(some)
            button.setToolTip("" if some else "No case is listed")

    def _load(self, case: Case) -> None:
        self.status.setText(f"Opening {case.case_id} ...")
        folder = self.painting.folder(case)
        worker = create_worker(_draw, case, folder)
        worker.returned.connect(lambda drawn: self._hang(case, *drawn))
        worker.errored.connect(lambda error: show_error(str(error)))
        worker.start()

    def _hang(self, case: Case, painted: Case, volumes: list[DrawnVolume]) -> None:
        if case is not self.session.case:  # another one was opened meanwhile
            return
        self.session.hanging.show(volumes)
        self._problems = [
            f"{TITLES[v.role]}: {v.message}"
            for v in volumes
            if v.message not in ("", "missing")
        ]
        self._problems += self._show_slide(case)
        about = tilt(volumes) if case.volumes else "It has no MRI."
        self.status.setText(f"{case.case_id}. {about}")
        self._warn([])
        self.align_button.offer(painted, volumes)
        self.painting.offer(case)
        self.session.case_drawn.emit(case)

    def _warn(self, more: list[str]) -> None:
        self.faults.setText("\n".join([*self._problems, *more, *self.list.faults]))

    def _show_slide(self, case: Case) -> list[str]:
        """Show the biopsy in its dock; return what is wrong with it."""
        view = self.session.slide_view()
        view.clear()
        if not case.slides:
            return []
        try:
            view.open(case.slides[0], case.slide_mpp[0])
        except Harm3Error as error:
            return [f"{TITLES['wsi']}: {error}"]
        return []


def _draw(case: Case, folder: Path) -> tuple[Case, list[DrawnVolume]]:
    """Return a case as it was painted, and its volumes."""
    painted = as_painted(case, folder)
    return painted, draw_case(painted)
