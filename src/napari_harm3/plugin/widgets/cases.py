"""Panel: the cases of a cohort; open one and it hangs."""

from pathlib import Path

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_harm3.cohort.case import ROLES, TITLES, Case
from napari_harm3.cohort.table import Cohort, external_files
from napari_harm3.errors import Harm3Error
from napari_harm3.plugin.layers import DrawnVolume, draw_case
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.parts import WARNING, PathField, Table, note

HEADER = ("Case", "T1+C", "T2", "Slide", "ROI", "pCR")
TIPS = (
    "",
    "T1 with contrast: before, after therapy",
    "T2: before, after therapy",
    "Biopsy slide",
    "Volumes with a voxel annotation",
    "Pathological complete response",
)


class CasesWidget(QWidget):
    """Choose a cohort, choose a case, see its volumes and its slide."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.session = Session.of(napari_viewer)
        self.table_path = PathField(
            "cohort.csv", pattern="Cohort table (*.csv)", chosen=self.open_cohort
        )
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Find a case")
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self._refill)
        self.cases = Table(HEADER)
        self.cases.itemDoubleClicked.connect(lambda _: self._open_selected())
        self.open_button = QPushButton("Open")
        self.open_button.clicked.connect(self._open_selected)
        self.previous_button = QPushButton("Previous")
        self.previous_button.clicked.connect(lambda: self.step(-1))
        self.next_button = QPushButton("Next")
        self.next_button.clicked.connect(lambda: self.step(1))
        self.status = note("Choose a cohort table, or File > Open Sample > HARM3.")
        self.faults = note("", WARNING)
        buttons = QHBoxLayout()
        for button in (self.open_button, self.previous_button, self.next_button):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table_path)
        layout.addWidget(self.filter)
        layout.addWidget(self.cases, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.status)
        layout.addWidget(self.faults)
        self._enable()
        self.session.cohort_changed.connect(self._show_cohort)
        self.session.case_changed.connect(self._load)
        if self.session.cohort is not None:
            self._show_cohort(self.session.cohort)

    def open_cohort(self, path: Path) -> None:
        """Read a table; one that is not in order is told, and changes nothing."""
        try:
            self.session.open_cohort(path, allow_external=self._accepted(path))
        except Harm3Error as error:
            show_error(str(error))

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

    def step(self, by: int) -> None:
        """Open the case before or after the one that hangs."""
        names = self._names()
        if names:
            current = self.session.case
            at = (
                names.index(current.case_id)
                if current and current.case_id in names
                else -by
            )
            self.session.open_case(names[(at + by) % len(names)])

    def _show_cohort(self, cohort: Cohort) -> None:
        self.table_path.set_path(cohort.path)
        self._refill()
        made_up = " Made-up patients (phantom)." if cohort.made_up else ""
        self.status.setText(f"{cohort.name}: {len(cohort.cases)} cases.{made_up}")
        self.faults.setText("\n".join(w.message for w in cohort.warnings[:3]))

    def _shown(self) -> list[Case]:
        cohort, wanted = self.session.cohort, self.filter.text().strip().lower()
        cases = () if cohort is None else cohort.cases
        return [case for case in cases if wanted in case.case_id.lower()]

    def _names(self) -> list[str]:
        return [case.case_id for case in self._shown()]

    def _refill(self) -> None:
        self.cases.fill([_row(case) for case in self._shown()], TIPS)
        self._enable()

    def _enable(self) -> None:
        some = bool(self._names())
        for button in (self.open_button, self.previous_button, self.next_button):
            button.setEnabled(some)
            button.setToolTip("" if some else "Choose a cohort table first")

    def _open_selected(self) -> None:
        names, row = self._names(), self.cases.currentRow()
        if names:
            self.session.open_case(names[max(row, 0)])

    def _load(self, case: Case) -> None:
        self.status.setText(f"Opening {case.case_id} ...")
        if case.case_id in self._names():
            self.cases.selectRow(self._names().index(case.case_id))
        worker = create_worker(draw_case, case)
        worker.returned.connect(lambda volumes: self._hang(case, volumes))
        worker.errored.connect(lambda error: show_error(str(error)))
        worker.start()

    def _hang(self, case: Case, volumes: list[DrawnVolume]) -> None:
        if case is not self.session.case:  # another one was opened meanwhile
            return
        self.session.hanging.show(volumes)
        problems = [
            f"{TITLES[v.role]}: {v.message}"
            for v in volumes
            if v.message not in ("", "missing")
        ]
        problems += self._show_slide(case)
        self.status.setText(f"{case.case_id}. {_tilt(volumes)}")
        self.faults.setText("\n".join(problems))
        self.session.case_drawn.emit(case)

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


def _row(case: Case) -> list[str]:
    def mark(*roles: str) -> str:
        return " ".join("●" if role in case.volumes else "○" for role in roles)

    return [
        case.case_id,
        mark(*ROLES[:2]),
        mark(*ROLES[2:]),
        "●" if case.slides else "○",
        str(len(case.masks)),
        {None: "?", 0: "no", 1: "yes"}[case.pcr],
    ]


def _tilt(volumes: list[DrawnVolume]) -> str:
    """Say which volumes were resampled to be drawn, and by how much they lie askew."""
    tilted = [
        f"{TITLES[v.role]} {v.grid.oblique_degrees:.0f}°"
        for v in volumes
        if v.grid is not None and v.grid.oblique_degrees
    ]
    if not tilted:
        return ""
    return f"Oblique, straightened for display only: {', '.join(tilted)}."
