"""Panel: where the model looks, and how that agrees with the annotations."""

import json
from pathlib import Path
from typing import Any

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
from napari_harm3.errors import Harm3Error
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.notices import MADE_UP
from napari_harm3.plugin.client import Listener
from napari_harm3.plugin.explanation_folder import EVIDENCE, read_explanation
from napari_harm3.plugin.keys import EXPLAIN, bind_keys
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.explain_agreement import AgreementBox
from napari_harm3.plugin.widgets.explain_choices import MapChoices
from napari_harm3.plugin.widgets.explain_link import LinkBox
from napari_harm3.plugin.widgets.explain_maps import MapBox
from napari_harm3.plugin.widgets.linked_volumes import LinkedVolumes
from napari_harm3.plugin.widgets.parts import WARNING, PathField, Scrolled, note
from napari_harm3.worker.messages import Answer

BEGIN = "Open a case, choose a model, press Compute."
CANCELLING = "Cancelling ..."
NO_VOLUME = "The model sees no volume, so there is no map to compare."
STILL = "What is on show was computed before."
NOT_COMPARED = "These maps show what a part responds to: no annotation says where."


class ExplainWidget(QWidget):
    """Ask the worker for heat maps, lay them over the four volumes."""

    drawn = Signal(object)
    """An explanation's heat maps are in the viewer."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = Session.of(napari_viewer)
        self._request: int | None = None
        self._cancelling = False
        self._attention: dict[str, Any] = {}
        self._laid = False
        self.model_path = PathField("Run or model folder", folder=True)
        self.choices = MapChoices()
        self.compute_button = QPushButton("Compute")
        self.cancel_button = QPushButton("Cancel")
        self.progress = QProgressBar()
        self.progress.setTextVisible(True)
        self.probability = QProgressBar()
        self.probability.setRange(0, 1000)
        self.origin = note("", WARNING)
        self.status = note(BEGIN)
        self.maps = MapBox(self.session)
        self.linked = LinkedVolumes(napari_viewer, self.session)
        self.threshold = _slider(0.35, "Share of the peak below which heat is clear")
        self.opacity = _slider(0.75, "Of the heat")
        self.link = LinkBox(napari_viewer, self.session)
        self.figures = AgreementBox()
        self._lay_out()
        self._hear_parts()
        self._hear(self.session)
        bind_keys(napari_viewer, self, EXPLAIN)
        self._show_probability(None)
        self._enable()

    def _hear_parts(self) -> None:
        self.model_path.changed.connect(self._model_changed)
        self.compute_button.clicked.connect(self.compute)
        self.cancel_button.clicked.connect(self.cancel)
        for slider in (self.threshold, self.opacity):
            slider.valueChanged.connect(self._restyle)
        self.maps.ready.connect(self._lay)
        self.link.changed.connect(self._show_heat)

    def _hear(self, session: Session) -> None:
        session.cohort_changed.connect(self._forget)
        session.case_changed.connect(self._case_changed)
        session.explained.connect(self._show)
        session.moved.connect(self._follow)
        session.slide_opened.connect(self._colour_slide)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.compute_button)
        buttons.addWidget(self.cancel_button)
        buttons.addWidget(self.progress, 1)
        content = QWidget()
        column = QVBoxLayout(content)
        ask = QFormLayout()
        ask.addRow("Model", self.model_path)
        ask.addRow(self.choices)
        ask.addRow(buttons)
        ask.addRow("p(pCR)", self.probability)
        ask.addRow("Map", self._map_row())
        ask.addRow("Threshold", self.threshold)
        ask.addRow("Opacity", self.opacity)
        column.addLayout(ask)
        for part in (self.origin, self.status, self.link, self.figures):
            column.addWidget(part)
        column.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(Scrolled(content))

    def _map_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.addWidget(self.maps, 1)
        row.addWidget(self.linked)
        return row

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
        request = self.choices.request()
        name = case.case_id
        if request.maps != ExplainConfig():
            name = f"{name}-{recipe_hash(request.maps)}"
        out = self.session.work / "explanations" / model.name / name
        self._request = self.session.client.ask(
            "explain",
            {
                "model": str(model),
                "cohort": str(cohort.path),
                "case": case.case_id,
                "out": str(out),
                "request": to_plain(request),
                **self.session.access,
            },
            Listener(
                then=lambda result: self._computed(case, out, result),
                progress=lambda answer: self._progressed(case, answer),
                failed=lambda message: self._failed(case, message),
            ),
        )
        self.status.setText("Starting the worker ...")
        self.progress.setRange(0, 0)
        self._enable()

    def cancel(self) -> None:
        """Stop computing."""
        if self._request is not None:
            self.session.client.cancel(self._request)
            self._cancelling = True
            self.status.setText(CANCELLING)
            self._enable()

    def load(self, folder: Path) -> None:
        """Show a finished explanation folder of the case that hangs."""
        try:
            explanation = read_explanation(folder, self.session.case)
        except Harm3Error as error:
            show_error(str(error))
        else:
            self.session.show_explanation(explanation)

    def _forget(self) -> None:
        """Keep nothing of a case."""
        self.cancel()
        self.maps.forget()
        self.link.forget()
        self._show_probability(None)
        self.figures.fill({})
        self.origin.setText("")
        self.status.setText(BEGIN)
        self._enable()

    def _case_changed(self, case: Case) -> None:
        self._forget()
        self._say_next(case)

    def _model_changed(self) -> None:
        case = self.session.case
        idle = self._request is None and self.session.explanation is None
        if case is not None and idle:
            self._say_next(case)
        self._enable()

    def _say_next(self, case: Case) -> None:
        chosen = self.model_path.path is not None
        first = "" if chosen else "choose a model, then "
        self.status.setText(f"{case.case_id}: {first}press Compute.")

    def _progressed(self, case: Case, answer: Answer) -> None:
        if case is not self.session.case or self._cancelling:
            return
        if answer.warning:
            self.origin.setText(answer.text)
        else:
            self.progress.setRange(0, max(answer.of, 1))
            self.progress.setValue(answer.step)
            self.status.setText(f"{answer.stage}: {answer.text}")

    def _failed(self, case: Case, message: str) -> None:
        """Say why there is nothing new, and whose maps are still on show."""
        self._finish()
        if case is not self.session.case:
            return
        shown = self.session.explanation
        self._show_origin(shown)
        still = "" if shown is None else f" {STILL}"
        self.status.setText(f"{message or 'Cancelled.'}{still}")

    def _computed(self, case: Case, out: Path, result: dict[str, Any]) -> None:
        self._finish()
        if case is not self.session.case:
            return
        if result["probability"] is None:
            self.status.setText(result["message"])
        else:
            self.session.show_explanation(result | {"folder": out})

    def _finish(self) -> None:
        self._request, self._cancelling = None, False
        self.progress.setRange(0, 1)
        self.progress.reset()
        self._enable()

    def _show(self, explanation: dict[str, Any]) -> None:
        how = ""
        if "explain" in explanation:  # what the maps are, not what was last chosen
            plain = explanation["explain"]
            made = from_plain(ExplainConfig, plain, source="the explanation")
            self.choices.show_config(made)
            how = f"Made by {made.method}, {made.layer}. "
        self._show_probability(explanation)
        self._show_origin(explanation)
        made_up, source = explanation["made_up"], explanation["trained_on"]
        named = "" if made_up else f"Trained on {source}. "
        cell = " x ".join(f"{mm:.0f}" for mm in explanation["cell_mm"])
        fine = (
            f"{how}One cell of the map is {cell} mm." if cell else "It sees no volume."
        )
        if explanation.get("cells_assumed"):
            fine += " Where cells lie is assumed: the model does not say."
        silent = [TITLES[role] for role in explanation["messages"]]
        quiet = f" No positive evidence in: {', '.join(silent)}." if silent else ""
        self.status.setText(f"{named}{fine}{quiet}")
        self._laid = False
        self.link.offer(explanation)
        self.maps.offer(explanation)

    def _show_probability(self, explanation: dict[str, Any] | None) -> None:
        # A bar that has no value yet would show no text either.
        probability = 0 if explanation is None else explanation["probability"]
        self.probability.setValue(round(1000 * probability))
        self.probability.setFormat(
            "not computed"
            if explanation is None
            else f"{probability:.2f}  ({explanation['seen']})"
        )

    def _show_origin(self, explanation: dict[str, Any] | None) -> None:
        """Warn of a model that learned from made-up cases, if its maps are on show."""
        made_up = explanation is not None and explanation["made_up"]
        self.origin.setText(MADE_UP if made_up else "")

    def _follow(self) -> None:
        """Lay the heat maps where the volumes are drawn now; hide them until then."""
        self._show_heat()
        if self.session.explanation is not None:
            self.maps.ask()

    def _lay(self, explanation: dict[str, Any]) -> None:
        """Show maps that have been read; with the first of a case its slide's."""
        self._show_heat()
        self._compare(explanation)
        if not self._laid:
            self._lay_attention(Path(explanation["attention"]))
            self._laid = True
        self.drawn.emit(explanation)

    def _lay_attention(self, path: Path) -> None:
        """Colour the slide by a file; a damaged one is told, and colours nothing."""
        try:
            self._attention = json.loads(path.read_text(encoding="utf-8"))
            self.session.slide_view().show_attention(self._attention)
        except (OSError, ValueError, LookupError, TypeError):
            self._attention = {"features": []}
            show_error(f"{path.name} is damaged: explain the case again.")

    def _colour_slide(self) -> None:
        """Colour another slide of the case as the one before was."""
        if self._laid and self.session.explanation is not None:
            self.session.slide_view().show_attention(self._attention)
            self.link.ask_again()

    def _compare(self, explanation: dict[str, Any]) -> None:
        """Show how the map on show agrees with the annotations."""
        kind = self.maps.kind
        if kind == EVIDENCE:
            reason = "" if explanation["agreement"] else NO_VOLUME
            self.figures.fill(explanation["agreement"], reason)
        else:
            others = explanation.get("also_agreement") or {}
            self.figures.fill(others.get(kind, {}), NOT_COMPARED)

    def _show_heat(self) -> None:
        """Lay over the volumes what a patch looks at, or else the chosen map."""
        hanging, answer = self.session.hanging, self.link.maps
        if answer is None:
            hanging.show_heat(self.maps.maps or {})
        else:
            hanging.show_heat(answer, least_peak=self.link.least_peak)
        self._restyle()

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
        self.cancel_button.setEnabled(
            self._request is not None and not self._cancelling
        )


def _slider(value: float, tip: str) -> QLabeledDoubleSlider:
    slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
    slider.setRange(0.0, 1.0)
    slider.setValue(value)
    slider.setToolTip(tip)
    return slider
