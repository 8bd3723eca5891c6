"""The Explain panel's way between slide and MRI: a click on one asks the other."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from napari.qt.threading import create_worker
from napari.viewer import Viewer
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]  # per binding
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (  # type: ignore[attr-defined]  # QShortcut, per binding
    QGridLayout,
    QPushButton,
    QShortcut,
    QWidget,
)

from napari_harm3.cohort.case import TITLES
from napari_harm3.errors import ModelError
from napari_harm3.explain.link import CaseLink
from napari_harm3.plugin.clicks import on_click
from napari_harm3.plugin.cross_hair import CrossHair
from napari_harm3.plugin.keys import CLICK_THROUGH
from napari_harm3.plugin.layers import DrawnMaps, Place
from napari_harm3.plugin.link_layers import (
    cell_mm,
    link_maps,
    own_ras,
    place_of,
    strongest,
)
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.parts import choice, note

TOP = 5
"""Patches that are outlined."""

EVEN, SAME = 1.5, 1.1
"""Below these multiples, of an even share and of the average, an answer says little."""

LEAST_LIFT = 0.1
"""The scale of the lift ends there at least: noise is not to look like heat."""

SHARE, LIFT = "as share", "as lift"
TIPS = {
    SHARE: "How much of the whole question goes there",
    LIFT: "How far that is above the average over all patches, or over the MRI",
}
TIP = (
    "Click a patch to see where in the MRI it looks, or a place in a volume to see "
    f"the patches that look there ({CLICK_THROUGH}). Attention is where the network "
    "looks, not why it decides."
)
READY = "Click a patch on the slide, or a place in a volume."
NO_LINK = "This model has no attention from slide to MRI, Eq. (6), to click through"
EXPLAIN_FIRST = "Explain a case first"

Shares = Float[np.ndarray, "n"]


class LinkBox(QWidget):
    """Turns clicks into answers; the panel lays `maps` over the volumes."""

    changed = Signal()
    """Other maps are to be shown, or the evidence again."""

    ready = Signal()
    """What an explanation says of the link has been read."""

    def __init__(self, viewer: Viewer, session: Session) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session
        self._cross = CrossHair(viewer)
        self.link: CaseLink | None = None
        self.maps: DrawnMaps | None = None
        """Where the patch that was asked looks; None while the evidence is shown."""

        self._answer: DrawnMaps | None = None
        self._patch: int | None = None
        self._place: tuple[str, list[float]] | None = None
        """Role and its own RAS mm: the tissue that was asked, wherever it is drawn."""

        self._explanation: dict[str, Any] | None = None
        self.button = QPushButton("Slide ↔ MRI")
        self.button.setCheckable(True)
        self.button.toggled.connect(self._toggled)
        self.weighing = choice((SHARE, LIFT))
        for row, tip in enumerate(TIPS.values()):
            self.weighing.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)
        self.weighing.setToolTip("\n".join(f"{k}: {tip}" for k, tip in TIPS.items()))
        self.weighing.currentTextChanged.connect(self.ask_again)
        self.back_button = QPushButton("Back to evidence")
        self.back_button.setToolTip("Show the heat maps and the attention again (Esc)")
        self.back_button.clicked.connect(self.back)
        self.text = note("")
        self._escape = QShortcut(QKeySequence("Escape"), self)
        self._escape.activated.connect(self.back)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for column, part in enumerate((self.button, self.weighing, self.back_button)):
            layout.addWidget(part, 0, column)
        layout.addWidget(self.text, 1, 0, 1, 3)
        session.slide_clicked.connect(self.click_slide)
        session.moved.connect(self.ask_again)
        self._hear_clicks(viewer)
        self.forget()

    @property
    def least_peak(self) -> float:
        """Where the scale of the maps ends if nothing reaches that far."""
        return LEAST_LIFT if self._lifted else 1e-6

    @property
    def asked(self) -> bool:
        """Whether the answer to a click is on show."""
        return self._patch is not None or self._place is not None

    def forget(self, reason: str = EXPLAIN_FIRST) -> None:
        """Keep nothing of a case; say why nothing can be clicked."""
        self.back()
        self.link, self._explanation = None, None
        self._enable(reason)

    def offer(self, explanation: dict[str, Any]) -> None:
        """Read the link of an explanation, in a thread; `ready` tells the end."""
        self.forget("Reading the link")
        self._explanation = explanation
        path = explanation.get("link")
        if path is None:
            self._settle((explanation, None, self._why_none()))
            return
        worker = create_worker(lambda: (explanation, *_read(Path(path))))
        worker.returned.connect(self._settle)
        worker.start()

    def toggle(self) -> None:
        """Begin or end hearing clicks, where there is a link."""
        if self.button.isEnabled():
            self.button.toggle()

    def ask_patch(self, patch: int) -> None:
        """Show where in the MRI a patch of the bag looks."""
        link, session = self.link, self._session
        if link is None:
            return
        self._patch, self._place = patch, None
        shares, lift = link.mri_of_patch(patch), link.mri_of_patch(patch, lift=True)
        shown = self._weighed(shares, lift)
        grids, transforms = session.hanging.grids, session.transforms
        self._answer = link_maps(link, shown, grids, transforms, self._answer)
        self.maps = self._answer
        x, y, width, height = link.places.box(patch)
        said = (
            f"What the patch at {x:.0f}, {y:.0f} (level 0) attends to, through its "
            "pooled tokens."
        )
        if shares.any():
            best = strongest(link, shown, session.transforms)
            self._cross.show(session.hanging.on_screen(best.role, best.place))
            volume = TITLES[best.role] if link.times_apart else TITLES[best.role][:2]
            strength = _strength(shares, lift, shown, "Every patch")
            said += f" Strongest: {volume} with {strength}"
        else:
            self._cross.hide()
            said += " They take nothing of this patch."
        view = session.slide_view()
        view.back_to_attention()
        shown_here = patch in self._on_show(link)
        view.mark(np.array([(x, y)] * shown_here).reshape(-1, 2), (width, height))
        self._say(said)

    def ask_place(self, role: str, place: Place) -> None:
        """Show the patches that look at a place of a volume, as it is drawn now."""
        ras = own_ras(role, place, self._session.transforms)
        self._ask_tissue(role, ras.tolist())

    def _ask_tissue(self, role: str, ras: list[float]) -> None:
        """Show the patches that look at a place of a volume, in its own RAS mm."""
        link, session = self.link, self._session
        if link is None:
            return
        shares = link.patches_at(role, ras)
        lift = link.patches_at(role, ras, lift=True)
        if shares is None or lift is None:
            self.back()  # else the answer before would seem to be of that place
            self.text.setText(f"The model does not see that place of {TITLES[role]}.")
            return
        self._patch, self._place, self.maps = None, (role, ras), None
        place = place_of(role, ras, session.transforms)
        self._cross.show(session.hanging.on_screen(role, place))
        size = " x ".join(f"{mm:.0f}" for mm in cell_mm(link))
        shown = self._weighed(shares, lift)
        self._say(
            f"Patches that attend to this place in {TITLES[role]}, a cell of {size} "
            f"mm. {self._colour(link, shown)} "
            f"{_strength(shares, lift, shown, 'Every place')}"
        )

    def ask_again(self) -> None:
        """Ask the same of the case as it is drawn, and weighed, now."""
        if self._patch is not None:
            self.ask_patch(self._patch)
        elif self._place is not None:
            self._ask_tissue(*self._place)

    def back(self) -> None:
        """Show the evidence again."""
        asked = self.asked
        self._patch, self._place, self.maps = None, None, None
        self._cross.hide()
        self._escape.setEnabled(False)
        self.back_button.setEnabled(False)
        if asked:
            self.text.setText(READY)
            self._session.slide_view().back_to_attention()
            self._session.slide_view().mark(np.zeros((0, 2)))
            self.changed.emit()

    @property
    def _lifted(self) -> bool:
        return self.weighing.currentText() == LIFT

    def _weighed(self, shares: Shares, lift: Shares) -> Shares:
        return np.maximum(lift - 1, 0) if self._lifted else shares

    def _say(self, text: str) -> None:
        self.text.setText(text)
        self._escape.setEnabled(True)
        self.back_button.setEnabled(True)
        self.changed.emit()

    def _colour(self, link: CaseLink, shown: Shares) -> str:
        """Colour the patches of the slide on show; say which is the strongest."""
        view, own = self._session.slide_view(), self._on_show(link)
        if not len(own):
            return "Their slide is not on show. The strongest takes"
        side = link.places.sides[link.places.slide[own[0]]].tolist()
        peak = max(float(shown.max()), self.least_peak)
        view.colour(link.places.corners[own], side, shown[own] / peak)
        first = own[np.argsort(-shown[own], kind="stable")][:TOP]
        view.mark(link.places.corners[first], side)
        x, y, width, height = link.places.box(int(first[0]))
        view.centre_on(x + width / 2, y + height / 2)
        if shown[first[0]] < shown.max():
            return "The strongest lies on another slide, with"
        return f"Strongest: the patch at {x:.0f}, {y:.0f} with"

    def _on_show(self, link: CaseLink) -> Int[np.ndarray, "n"]:
        """Return the patches of the slide on show whose places are known."""
        name = self._session.slide_view().name
        on_show = np.array([name == one for one in link.places.names], bool)
        here = on_show[link.places.slide]
        return np.flatnonzero(here & link.places.known)

    def _settle(self, read: tuple[dict[str, Any], CaseLink | None, str]) -> None:
        explanation, link, reason = read
        if explanation is self._explanation:
            self.link = link
            self._enable(reason)
            self.ready.emit()

    def _enable(self, reason: str) -> None:
        """Let clicks be asked, or give the reason why they cannot be."""
        if reason:
            self.button.setChecked(False)
        for part in (self.button, self.weighing):
            part.setEnabled(not reason)
        said = f"{reason.rstrip('.')}." if reason else ""
        self.button.setToolTip(said or TIP)
        self.text.setText(said)

    def _why_none(self) -> str:
        case = self._session.case
        if case is not None and not (case.slides and case.volumes):
            lacks = "MRI" if case.slides else "slide"
            return f"This case has no {lacks}: there is nothing to link"
        return NO_LINK

    def _toggled(self, on: bool) -> None:
        self.back()
        if self.link is not None:
            self.text.setText(READY if on else "")

    def click_slide(self, x: float, y: float) -> None:
        """Ask the patch at a level-0 pixel of the slide, while clicks are heard."""
        name = self._session.slide_view().name
        if not self.button.isChecked() or self.link is None or name is None:
            return
        patch = self.link.patch_at(name, x, y)
        if patch is None:
            self.back()
            self.text.setText("The model has seen no patch there.")
        else:
            self.ask_patch(patch)

    def _volume_clicked(self, event: Any) -> None:
        if not self.button.isChecked():
            return
        active = self._viewer.layers.selection.active
        if active is not None and active.mode != "pan_zoom":  # it is being painted
            return
        role = self._session.hanging.role_at(event.viewbox)
        if role is not None and len(event.position) == 3:
            z, y, x = (float(along) for along in event.position)
            here = self._session.hanging.off_screen(role, (z, y, x))
            self.ask_place(role, here)

    def _hear_clicks(self, viewer: Viewer) -> None:
        """Hear the clicks on the volumes, as long as this box lives."""
        callbacks, own = viewer.mouse_drag_callbacks, on_click(self._volume_clicked)
        callbacks.append(own)
        self.destroyed.connect(lambda: callbacks.remove(own))


def _read(path: Path) -> tuple[CaseLink | None, str]:
    """Return a link, or why there is none."""
    try:
        return CaseLink.from_npz(path), ""
    except ModelError as error:
        return None, str(error)


def _strength(shares: Shares, lift: Shares, shown: Shares, every: str) -> str:
    """Say how much the strongest on show has, and whether that tells anything."""
    strongest, even = shown.argmax(), 1 / max(int(np.count_nonzero(shares)), 1)
    said = (
        f"{float(shares[strongest]):.2%} (an even share is {even:.2%}), "
        f"{float(lift[strongest]):.2f} times the average."
    )
    if float(lift.max()) < SAME:
        said += f" {every} gets nearly the same answer."
    elif float(shares.max()) < EVEN * even:
        said += " Attention is nearly even."
    return said
