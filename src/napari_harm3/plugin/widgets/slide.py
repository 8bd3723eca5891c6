"""Panel: where the tissue of the slide is, and its patches."""

from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFormLayout, QPushButton, QVBoxLayout, QWidget
from superqt import QLabeledSlider

from napari_harm3.cohort.case import Case
from napari_harm3.plugin.client import Listener
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.parts import note
from napari_harm3.wsi.config import PatchConfig, TissueConfig

SETTLE_MS = 250
"""How long a slider rests before its value is used."""


class SlideWidget(QWidget):
    """Choose the settings, ask the worker, show outline and patches."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = Session.of(napari_viewer)
        self._request: int | None = None
        defaults = TissueConfig()
        self.saturation = _slider(0, 80, defaults.saturation)
        self.closing = _slider(0, 200, round(defaults.closing_um))
        self.area = _slider(0, 200, round(defaults.least_area_um2 / 1000))
        self.find_button = QPushButton("Find tissue")
        self.find_button.clicked.connect(self.find_tissue)
        self.status = note("Open a case with a slide first.")
        form = QFormLayout()
        form.addRow("Least saturation", self.saturation)
        form.addRow("Closing, µm", self.closing)
        form.addRow("Least area, 1000 µm²", self.area)
        form.addRow(self.find_button)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.status)
        layout.addStretch(1)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self.find_tissue)
        for slider in (self.saturation, self.closing, self.area):
            slider.valueChanged.connect(lambda _: self._timer.start())
        self.session.case_drawn.connect(self._case_drawn)
        self._case_drawn(self.session.case)

    def config(self) -> TissueConfig:
        """Return what the sliders say."""
        return TissueConfig(
            saturation=self.saturation.value(),
            closing_um=float(self.closing.value()),
            least_area_um2=1000.0 * self.area.value(),
        )

    def find_tissue(self) -> None:
        """Ask the worker for outline and patches of the case's slide."""
        case = self.session.case
        if case is None or not case.slides:
            return
        if self._request is not None:
            self.session.client.cancel(self._request)
        config = self.config()
        self.status.setText("Looking for tissue ...")
        self._request = self.session.client.ask(
            "preview_tissue",
            {
                "slide": str(case.slides[0]),
                "tissue": {
                    "saturation": config.saturation,
                    "closing_um": config.closing_um,
                    "least_area_um2": config.least_area_um2,
                },
                "patches": {},
                "source_mpp": case.slide_mpp[0],
            },
            Listener(then=self._show, failed=self._failed),
        )

    def _case_drawn(self, case: Case | None) -> None:
        there = case is not None and bool(case.slides)
        self.find_button.setEnabled(there)
        tip = "" if there else "The case has no slide, or none is open"
        self.find_button.setToolTip(tip)
        if there:
            self.status.setText("Move a slider, or press Find tissue.")

    def _failed(self, message: str) -> None:
        if message:
            self.status.setText(message)

    def _show(self, result: dict[str, Any]) -> None:
        self._request = None
        view = self.session.slide_view()
        view.show_tissue(result["polygons"])
        coords, side = result["coords"], result["level0_px"]
        view.show_patches(coords, (side[0], side[1]))
        mpp = result["mpp"][0]
        self.status.setText(
            f"{len(coords)} patches of {PatchConfig().patch} pixels at "
            f"{PatchConfig().mpp} µm; tissue on {result['fraction']:.0%} of the slide. "
            f"The slide has {mpp:.3g} µm per pixel ({result['mpp_source']})."
        )


def _slider(low: int, high: int, value: int) -> QLabeledSlider:
    slider = QLabeledSlider(Qt.Orientation.Horizontal)
    slider.setRange(low, high)
    slider.setValue(value)
    return slider
