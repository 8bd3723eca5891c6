"""Panel: the cases of a cohort; open one and it hangs."""

from pathlib import Path
from typing import Any

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # per binding
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
from napari_harm3.plugin.client import Listener
from napari_harm3.plugin.keys import CASES, bind_keys
from napari_harm3.plugin.layers import DrawnVolume, draw_case
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.parts import WARNING, PathField, Table, note
from napari_harm3.worker.messages import Answer

HEADER = ("Case", "T1+C", "T2", "Slide", "ROI", "pCR")
TIPS = (
    "",
    "T1 with contrast: before, after therapy",
    "T2: before, after therapy",
    "Biopsy slide",
    "Volumes with a voxel annotation",
    "Pathological complete response",
)
IDENTITY = [[float(row == column) for column in range(4)] for row in range(4)]
"""The transform of a role that stays where it was scanned."""


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
        self.align_button = AlignButton(self.session)
        self.status = note("Choose a cohort table, or File > Open Sample > HARM3.")
        self.faults = note("", WARNING)
        self._problems: list[str] = []
        self.align_button.told.connect(self.status.setText)
        self.align_button.warned.connect(self._warn)
        buttons = QHBoxLayout()
        for button in (self.open_button, self.previous_button, self.next_button):
            buttons.addWidget(button)
        buttons.addWidget(self.align_button)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table_path)
        layout.addWidget(self.filter)
        layout.addWidget(self.cases, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.status)
        layout.addWidget(self.faults)
        self._enable()
        self.session.cohort_changed.connect(self._take_down)
        self.session.cohort_changed.connect(self._show_cohort)
        self.session.case_changed.connect(self._load)
        if self.session.cohort is not None:
            self._show_cohort(self.session.cohort)
        bind_keys(napari_viewer, self, CASES)

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

    def _take_down(self) -> None:
        """Hang nothing of the cohort before; a slide that was opened alone stays."""
        if not self.session.hanging.empty:
            self.session.hanging.clear()
            self.session.slide_view().clear()

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
        self._problems = [
            f"{TITLES[v.role]}: {v.message}"
            for v in volumes
            if v.message not in ("", "missing")
        ]
        self._problems += self._show_slide(case)
        self.status.setText(f"{case.case_id}. {_tilt(volumes)}")
        self._warn([])
        self.align_button.offer(case, volumes)
        self.session.case_drawn.emit(case)

    def _warn(self, more: list[str]) -> None:
        self.faults.setText("\n".join([*self._problems, *more]))

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


class AlignButton(QPushButton):
    """Lays the volumes of the case on each other; then swaps before and after.

    Nothing moves unless it is pressed, and a second press puts all of it back.
    """

    told = Signal(str)
    warned = Signal(list)
    """One sentence for each registration that is not applied."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._case: Case | None = None
        self._request: int | None = None
        self._turn = 0  # what comes back for an earlier one is not heard
        self._scanned: list[DrawnVolume] = []
        self._aligned: list[DrawnVolume] = []
        self._transforms: dict[str, Any] = {}
        self._report = ""
        self.clicked.connect(self._pressed)
        session.cohort_changed.connect(self.forget)
        session.case_changed.connect(self.forget)
        self.forget()

    def offer(self, case: Case, volumes: list[DrawnVolume]) -> None:
        """Take a case that hangs now, as scanned."""
        self.forget()
        self._case, self._scanned = case, volumes
        self._label()

    def forget(self) -> None:
        """Stop, and keep nothing of the case."""
        if self._request is not None:
            self._session.client.cancel(self._request)
        self._turn += 1
        self._case, self._request = None, None
        self._scanned, self._aligned, self._transforms = [], [], {}
        self._label()

    def swap(self) -> None:
        """Show the case as scanned, or aligned again; nothing if it never was."""
        if not self._aligned:
            return
        back = bool(self._session.transforms)
        self._session.hanging.move(self._scanned if back else self._aligned)
        self._session.move({} if back else self._transforms)
        as_scanned = f"{self._name}, as scanned. {_tilt(self._scanned)}"
        self.told.emit(as_scanned if back else self._report)
        self._label()

    @property
    def _name(self) -> str:
        return "" if self._case is None else self._case.case_id

    def _pressed(self) -> None:
        if self._request is not None:
            self._session.client.cancel(self._request)
            self.told.emit("Cancelling ...")
        elif self._aligned:
            self.swap()
        else:
            self._ask()

    def _ask(self) -> None:
        case, cohort, turn = self._case, self._session.cohort, self._turn
        if case is None or cohort is None:
            return
        self._request = self._session.client.ask(
            "register_case",
            {
                "cohort": str(cohort.path),
                "case": case.case_id,
                **self._session.access,
            },
            Listener(
                then=lambda result: self._registered(turn, case, result),
                progress=lambda answer: self._progressed(turn, answer),
                failed=lambda message: self._failed(turn, message),
            ),
        )
        self.told.emit(f"Aligning {case.case_id} ...")
        self._label()

    def _progressed(self, turn: int, answer: Answer) -> None:
        if turn == self._turn and not answer.warning:
            done = f"{answer.step + 1} of {answer.of}"
            self.told.emit(f"Aligning {self._name}: {answer.text} ({done})")

    def _failed(self, turn: int, message: str) -> None:
        if turn == self._turn:
            self._request = None
            self.told.emit(message or "Cancelled.")
            self._label()

    def _registered(self, turn: int, case: Case, result: dict[str, Any]) -> None:
        if turn != self._turn:
            return
        self._request = None
        found = result["registrations"]
        transforms = {r: m for r, m in result["transforms"].items() if m != IDENTITY}
        self._report = _report(case, found)
        self.warned.emit(_poor(found, transforms))
        self.told.emit(self._report)
        self._label()
        if not transforms:
            return
        self.setEnabled(False)
        worker = create_worker(draw_case, case, transforms)
        worker.returned.connect(lambda drawn: self._drawn(turn, transforms, drawn))
        worker.errored.connect(lambda error: self._failed(turn, str(error)))
        worker.start()

    def _drawn(
        self, turn: int, transforms: dict[str, Any], drawn: list[DrawnVolume]
    ) -> None:
        if turn != self._turn:
            return
        # A role that stays where it is keeps its arrays, and what was painted there.
        pairs = zip(self._scanned, drawn, strict=True)
        self._aligned = [new if new.aligned else old for old, new in pairs]
        self._transforms = transforms
        self.swap()

    def _label(self) -> None:
        ready = sum(volume.image is not None for volume in self._scanned) >= 2
        text, tip = "Align", "Lay post on pre and T2 on T1, rigidly"
        keys = "then each press of Shift-B swaps"
        if self._request is not None:
            text, tip = "Cancel", "Stop aligning"
        elif self._aligned:
            keys = "each press of Shift-B does"
            text, tip = "Aligned", "Show the volumes laid on each other"
            if self._session.transforms:
                text, tip = "As scanned", "Show the volumes where they were scanned"
        self.setText(text)
        self.setToolTip(
            f"{tip}; {keys}" if ready else "Open a case with two volumes first"
        )
        self.setEnabled(ready)


def _report(case: Case, found: dict[str, Any]) -> str:
    """Say for each role that was laid on another how well that went."""
    lines = [f"{case.case_id}, aligned."]
    for role, one in found.items():
        before, after = one["correlation_before"], one["correlation"]
        lines.append(
            f"{TITLES[role]} on {TITLES[one['fixed']]}: correlation "
            f"{before:.2f} → {after:.2f}, "
            + ("not moved." if one["poor"] else f"moved {one['moved_mm']:.1f} mm.")
        )
    return "\n".join(lines)


def _poor(found: dict[str, Any], transforms: dict[str, Any]) -> list[str]:
    """Say which registrations are not applied, and why."""
    return [
        f"{TITLES[role]}: {one['message']}"
        + (f" It follows {TITLES[one['fixed']]}." if role in transforms else "")
        for role, one in found.items()
        if one["poor"]
    ]


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
