"""Part of the Cases panel: which cases there are, and what readers said of them."""

from collections.abc import Callable, Sequence

from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # per binding
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from napari_harm3.cohort.case import ROLES, Case
from napari_harm3.jobs import review
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.parts import Table, choice, note

COLUMNS = {
    "Case": "",
    "T1+C": "T1 with contrast: before, after therapy",
    "T2": "T2: before, after therapy",
    "Slide": "Biopsy slide",
    "ROI": "Volumes with a voxel annotation",
    "pCR": "Pathological complete response",
    "Read": "Whether it was reviewed, and flagged",
}
"""Titles and tips."""

PCR = [*COLUMNS].index("pCR")
Said = Sequence[review.ReviewRecord]
"""What was said of a case, in order."""

FILTERS: dict[str, Callable[[Said], bool]] = {
    "all": lambda _: True,
    # A remark on a finished review is a draft, and the case stays read.
    "unread": lambda said: all(one.draft for one in said),
    "flagged": lambda said: any(one.flags for one in said[-1:]),
    "disagreed": lambda said: any(one.verdict == "disagree" for one in said[-1:]),
    "unsure": lambda said: any(one.verdict == "unsure" for one in said[-1:]),
}
"""Which cases a reader goes through, by what was said of them."""


class CaseList(QWidget):
    """The cases of the cohort that are wanted; `Session.step` goes through them."""

    refilled = Signal()
    faulty = Signal(list)
    """A sentence for each review that cannot be read."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._reviews: dict[str, tuple[review.ReviewRecord, ...]] = {}
        self.faults: list[str] = []
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Find a case")
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self._fill)
        self.wanted = choice(FILTERS)
        self.wanted.setToolTip("Which cases are listed, by what readers said of them")
        self.wanted.currentTextChanged.connect(self._fill)
        self.blind = QCheckBox("hide pCR")
        self.blind.setToolTip("Read without knowing the outcome")
        self.table = Table([*COLUMNS])
        self.table.stretch(len(COLUMNS) - 1)
        self.table.itemDoubleClicked.connect(lambda _: self.open_selected())
        self.blind.toggled.connect(lambda on: self.table.setColumnHidden(PCR, on))
        self.progress = note()
        row = QHBoxLayout()
        row.addWidget(self.filter, 1)
        row.addWidget(self.wanted)
        row.addWidget(self.blind)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.progress)
        session.case_changed.connect(lambda _: self._mark())
        session.reviewed.connect(self.read)

    def open_selected(self) -> None:
        """Open the case that is marked, or else the first."""
        names = self._session.listed
        if names:
            self._session.open_case(names[max(self.table.currentRow(), 0)])

    def read(self) -> None:
        """Show the cohort, and what readers said of its cases."""
        self._reviews, self.faults = review.load_all(self._session.work)
        self._fill()
        self.faulty.emit(self.faults)

    def _fill(self) -> None:
        cohort, name = self._session.cohort, self.filter.text().strip().lower()
        cases = () if cohort is None else cohort.cases
        wanted, unread = FILTERS[self.wanted.currentText()], FILTERS["unread"]
        shown = [
            case
            for case in cases
            if name in case.case_id.lower() and wanted(self._said(case))
        ]
        self._session.listed = tuple(case.case_id for case in shown)
        rows = [_row(case, self._said(case)) for case in shown]
        self.table.fill(rows, [*COLUMNS.values()])
        left = sum(unread(self._said(case)) for case in cases)
        self.progress.setText(f"{len(cases) - left} of {len(cases)} read")
        self._mark()
        self.refilled.emit()

    def _said(self, case: Case) -> Said:
        return self._reviews.get(case.case_id, ())

    def _mark(self) -> None:
        """Select the case that hangs."""
        names, case = self._session.listed, self._session.case
        if case is not None and case.case_id in names:
            self.table.selectRow(names.index(case.case_id))


def _row(case: Case, said: Said) -> list[str]:
    def mark(*roles: str) -> str:
        return " ".join("●" if role in case.volumes else "○" for role in roles)

    return [
        case.case_id,
        mark(*ROLES[:2]),
        mark(*ROLES[2:]),
        "●" if case.slides else "○",
        str(len(case.masks)),
        {None: "?", 0: "no", 1: "yes"}[case.pcr],
        _read(said),
    ]


def _read(said: Said) -> str:
    if not said:
        return ""
    done, latest = not FILTERS["unread"](said), said[-1]
    words = ["done"] * done + ["draft"] * latest.draft
    return ", ".join(words) + (" ⚑" if latest.flags else "")
