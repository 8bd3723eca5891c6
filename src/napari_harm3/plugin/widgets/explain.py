"""Panel: where the model looks, and how that agrees with the annotations."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]  # per binding
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QLabeledDoubleSlider

from napari_harm3.cohort.case import TITLES, Case
from napari_harm3.config import from_plain, recipe_hash, to_plain
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.plugin.client import Listener
from napari_harm3.plugin.forms import ConfigForm, Shown
from napari_harm3.plugin.layers import draw_maps
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.parts import WARNING, PathField, Table, choice, note
from napari_harm3.worker.messages import Answer

HEADER = ("Volume", "Measure", "Value", "Chance", "Ceiling")
TIPS = (
    "",
    "",
    "What this map reaches",
    "What a map that says nothing would reach",
    "What the best map of such coarse cells could reach",
)
LAYERS = ("last", "stage4", "stage3", "stage2", "stage1", "stem")
"""Of every encoder here, the coarsest first; a model says which of them it has."""

MEASURES = {"pointing_game": "pointing game", "energy": "energy", "dice": "Dice"}


class ExplainWidget(QWidget):
    """Ask the worker for heat maps, lay them over the four volumes."""

    drawn = Signal(object)
    """An explanation's heat maps are in the viewer."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.session = Session.of(napari_viewer)
        self._request: int | None = None
        self._maps: dict[bool, Any] = {}
        self.model_path = PathField(
            "Run or model folder", folder=True, chosen=self._chosen
        )
        self.choices = ConfigForm(
            ExplainConfig(),
            {"method": Shown(label="Method"), "target": Shown(label="Evidence of")},
        )
        self.layer = choice(LAYERS)
        self.layer.setToolTip(
            "Layer of the volumes' encoder: the last, or a finer one; choose layercam "
            "or hirescam for these"
        )
        self.compute_button = QPushButton("Compute")
        self.compute_button.clicked.connect(self.compute)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(self.cancel)
        self.progress = QProgressBar()
        self.progress.setTextVisible(True)
        self.probability = QProgressBar()
        self.probability.setRange(0, 1000)
        self.probability.setFormat("not computed")
        self.origin = note("", WARNING)
        self.status = note("Open a case, choose a model, press Compute.")
        self.threshold = _slider(0.35)
        self.opacity = _slider(0.75)
        for slider in (self.threshold, self.opacity):
            slider.valueChanged.connect(self._restyle)
        self.agreement = Table(HEADER)
        self._lay_out()
        self.session.case_changed.connect(self._case_changed)
        self.session.explained.connect(self._show)
        self.session.moved.connect(self._follow)
        self._enable()

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.compute_button)
        buttons.addWidget(self.cancel_button)
        form = QFormLayout()
        form.addRow("Model", self.model_path)
        form.addRow(self.choices)
        form.addRow("Layer", self.layer)
        form.addRow(buttons)
        form.addRow(self.progress)
        form.addRow("p(pCR)", self.probability)
        form.addRow("Threshold", self.threshold)
        form.addRow("Opacity", self.opacity)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.origin)
        layout.addWidget(self.status)
        layout.addWidget(self.agreement, 1)

    def compute(self) -> None:
        """Ask the worker to explain the case that hangs."""
        case, cohort, model = (
            self.session.case,
            self.session.cohort,
            self.model_path.path,
        )
        if case is None or cohort is None or model is None:
            return
        self.session.model = model
        config = replace(self.choices.config(), layer=self.layer.currentText())
        name = case.case_id
        if config != ExplainConfig():
            name = f"{name}-{recipe_hash(config)}"
        out = self.session.work / "explanations" / model.name / name
        self._request = self.session.client.ask(
            "explain",
            {
                "model": str(model),
                "cohort": str(cohort.path),
                "case": case.case_id,
                "out": str(out),
                "config": to_plain(config),
                **self.session.access,
            },
            Listener(
                then=lambda result: self._computed(case, out, result),
                progress=self._progressed,
                failed=self._failed,
            ),
        )
        self.status.setText("Starting the worker ...")
        self.progress.setRange(0, 0)
        self._enable()

    def cancel(self) -> None:
        """Stop computing."""
        if self._request is not None:
            self.session.client.cancel(self._request)
            self.status.setText("Cancelling ...")

    def load(self, folder: Path) -> None:
        """Show a finished explanation folder of the case that hangs."""
        try:
            about = json.loads(
                (folder / "explanation.json").read_text(encoding="utf-8")
            )
            agreement = json.loads((folder / "agreement.json").read_text("utf-8"))
        except (OSError, ValueError):
            show_error(f"{folder.name} is no finished explanation: compute it again.")
            return
        maps = {role: str(folder / f"{role}_cam.nii.gz") for role in agreement}
        attention = str(folder / "slide_attention.geojson")
        about |= {"agreement": agreement, "maps": maps, "attention": attention}
        self.session.show_explanation(about | {"folder": folder})

    def _chosen(self, path: Path) -> None:
        self.session.model = path
        self._enable()

    def _case_changed(self, case: Case) -> None:
        self.cancel()
        self._maps.clear()
        self.probability.setValue(0)
        self.probability.setFormat("not computed")
        self.agreement.fill([])
        self.origin.setText("")
        self.status.setText(f"{case.case_id}: press Compute.")
        self._enable()

    def _progressed(self, answer: Answer) -> None:
        if answer.warning:
            self.origin.setText(answer.text)
        else:
            self.progress.setRange(0, max(answer.of, 1))
            self.progress.setValue(answer.step)
            self.status.setText(f"{answer.stage}: {answer.text}")

    def _failed(self, message: str) -> None:
        self._finish()
        self.status.setText(message or "Cancelled.")

    def _computed(self, case: Case, out: Path, result: dict[str, Any]) -> None:
        self._finish()
        if case is not self.session.case:
            return
        if result["probability"] is None:
            self.status.setText(result["message"])
        else:
            self.session.show_explanation(result | {"folder": out})

    def _finish(self) -> None:
        self._request = None
        self.progress.setRange(0, 1)
        self.progress.setValue(0)
        self._enable()

    def _show(self, explanation: dict[str, Any]) -> None:
        if "explain" in explanation:  # what the maps are, not what was last chosen
            plain = explanation["explain"]
            made = from_plain(ExplainConfig, plain, source="the explanation")
            self.choices.show_config(made)
            self.layer.setCurrentText(made.layer)
        probability = explanation["probability"]
        self.probability.setValue(round(1000 * probability))
        self.probability.setFormat(f"{probability:.2f}  ({explanation['seen']})")
        trained_on = explanation["trained_on"]
        self.origin.setText(
            "Trained on made-up patients (phantom): says nothing about a real one."
            if explanation["made_up"]
            else ""
        )
        cell = " x ".join(f"{mm:.0f}" for mm in explanation["cell_mm"])
        fine = f"One cell of the map is {cell} mm." if cell else "It sees no volume."
        silent = [TITLES[role] for role in explanation["messages"]]
        quiet = f" No positive evidence in: {', '.join(silent)}." if silent else ""
        self.status.setText(f"Trained on {trained_on}. {fine}{quiet}")
        self.agreement.fill(_rows(explanation["agreement"]), TIPS)
        self._maps.clear()
        self._draw(explanation)

    def _draw(self, explanation: dict[str, Any]) -> None:
        transforms = self.session.transforms
        files = {role: Path(p) for role, p in explanation["maps"].items()}
        worker = create_worker(draw_maps, files, transforms)
        worker.returned.connect(lambda maps: self._lay(explanation, transforms, maps))
        worker.errored.connect(lambda error: show_error(str(error)))
        worker.start()

    def _follow(self) -> None:
        """Lay the heat maps where the volumes are drawn now; hide them until then."""
        explanation = self.session.explanation
        if explanation is None:
            return
        maps = self._maps.get(bool(self.session.transforms))
        self.session.hanging.show_heat(maps or {})
        self._restyle()
        if maps is None:
            self._draw(explanation)

    def _lay(self, explanation: dict[str, Any], transforms: Any, maps: Any) -> None:
        if explanation is not self.session.explanation:
            return
        self._maps[bool(transforms)] = maps
        if bool(transforms) != bool(self.session.transforms):  # moved meanwhile
            return
        self.session.hanging.show_heat(maps)
        self._restyle()
        attention = Path(explanation["attention"]).read_text(encoding="utf-8")
        self.session.slide_view().show_attention(json.loads(attention))
        self.drawn.emit(explanation)

    def _restyle(self) -> None:
        self.session.hanging.set_heat(
            threshold=self.threshold.value(), opacity=self.opacity.value()
        )

    def _enable(self) -> None:
        ready = self.session.case is not None and self.model_path.path is not None
        self.compute_button.setEnabled(ready and self._request is None)
        self.compute_button.setToolTip(
            "" if ready else "Open a case and choose a model first"
        )
        self.cancel_button.setEnabled(self._request is not None)


def _slider(value: float) -> QLabeledDoubleSlider:
    slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
    slider.setRange(0.0, 1.0)
    slider.setValue(value)
    return slider


def _rows(agreement: dict[str, Any]) -> list[list[str]]:
    rows = []
    for role, measures in agreement.items():
        if "not_applicable" in measures:
            rows.append([TITLES[role], measures["not_applicable"], "", "", ""])
            continue
        for key, name in MEASURES.items():
            figures = [measures[key][k] for k in ("value", "chance", "ceiling")]
            rows.append([TITLES[role], name, *(f"{value:.2f}" for value in figures)])
    return rows
