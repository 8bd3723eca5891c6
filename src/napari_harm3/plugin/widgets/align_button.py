"""Part of the Cases panel: the volumes of a case, laid on each other."""

from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # per binding
from qtpy.QtWidgets import QPushButton

from napari_harm3.cohort.case import TITLES, Case
from napari_harm3.plugin.client import Listener
from napari_harm3.plugin.layers import DrawnVolume, draw_case, tilt
from napari_harm3.plugin.session import Session
from napari_harm3.worker.messages import Answer

IDENTITY = [[float(row == column) for column in range(4)] for row in range(4)]
"""The transform of a role that stays where it was scanned."""


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
        as_scanned = f"{self._name}, as scanned. {tilt(self._scanned)}"
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
