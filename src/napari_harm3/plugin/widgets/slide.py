"""Panel: tissue and patches of a slide, while the sliders move; all slides at once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QLabeledSlider

from napari_harm3.cohort.case import Case
from napari_harm3.config import to_plain
from napari_harm3.errors import Harm3Error
from napari_harm3.plugin.client import Listener
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.slide_view import PATCHES, TISSUE
from napari_harm3.plugin.tissue_preview import (
    ACCEPTED,
    DAMAGED,
    REJECTED,
    Preview,
    TissuePreview,
    Wish,
)
from napari_harm3.plugin.widgets.parts import WARNING, PathField, choice, note
from napari_harm3.worker.messages import Answer
from napari_harm3.wsi.config import (
    PRESETS,
    RULES,
    STAINS,
    AnyTissueConfig,
    EncoderConfig,
    PatchConfig,
    TissueConfig,
)
from napari_harm3.wsi.patches import read_patch
from napari_harm3.wsi.slide import Slide

THUMBNAIL = 150
SLIDES = "Slides (*.svs *.tif *.tiff *.ndpi *.mrxs *.scn *.bif *.dcm);;All files (*)"
THIS, ALL = "this slide", "all slides of the cohort"


class SlideWidget(QWidget):
    """Choose how tissue and patches are found, see them, work on many slides."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = Session.of(napari_viewer)
        self.preview = TissuePreview(self)
        self.shown: Preview | None = None
        self._request: int | None = None
        self.tissue = TissueForm()
        self.patches = PatchForm()
        self.features = FeatureForm()
        self.slides = QComboBox()
        self.slides.activated.connect(self._choose)
        self.path = PathField("Another slide", pattern=SLIDES, chosen=self.open)
        self.find_button = QPushButton("Find tissue")
        self.outline = QCheckBox("outline")
        self.accepted = QCheckBox("patches")
        self.rejected = QCheckBox("rejected ones")
        for box in (self.outline, self.accepted, self.rejected):
            box.setChecked(True)
        self.counts = note("Open a case with a slide, or a slide here.")
        self.warning = note(style=WARNING)
        self.picture = QLabel()
        self.picture.setFixedSize(THUMBNAIL, THUMBNAIL)
        self.about_patch = note("Point at a patch on the slide.")
        self.target = choice((THIS, ALL))
        self.out = PathField("Output folder", folder=True)
        self.save_button = QPushButton("Save outline and patches")
        self.extract_button = QPushButton("Extract features")
        self.cancel_button = QPushButton("Cancel")
        self.progress = QProgressBar()
        self.status = note()
        self._lay_out()
        self._connect()
        self._show_slides(self.session.case)
        self._enable()

    def open(self, path: Path) -> None:
        """Show a slide that belongs to no case."""
        try:
            self.session.slide_view().open(path)
        except Harm3Error as error:
            show_error(str(error))

    def find_tissue(self) -> None:
        """Outline the tissue of the slide on show, as the sliders say."""
        slide = self.session.slide_view().slide
        if slide is None:
            return
        try:
            wish = Wish(
                slide=slide.path,
                mpp=slide.mpp[0]
                if slide.mpp_source == "stated" and slide.mpp
                else None,
                tissue=self.tissue.config(),
                patches=self.patches.config(),
            )
        except ValueError as error:
            self.warning.setText(str(error))
            return
        self.preview.ask(wish)

    def save(self) -> None:
        """Write outline, mask and patches, of one slide or all."""
        self._run("find_tissue", {})

    def extract(self) -> None:
        """Turn patches into features, of one slide or all."""
        self._run("extract_features", {"encoder": to_plain(self.features.config())})

    def cancel(self) -> None:
        """Stop the batch; slides that are finished are kept."""
        if self._request is not None:
            self.session.client.cancel(self._request)

    def _lay_out(self) -> None:
        source = QFormLayout()
        source.addRow("Slide", self.slides)
        source.addRow("", self.path)
        shown = _row(self.find_button, self.outline, self.accepted, self.rejected)
        patch = QHBoxLayout()
        patch.addWidget(self.picture)
        patch.addWidget(self.about_patch, 1)
        batch = QFormLayout()
        batch.addRow("Work on", self.target)
        batch.addRow("Into", self.out)
        content = QWidget()
        column = QVBoxLayout(content)
        column.addLayout(source)
        column.addLayout(shown)
        column.addWidget(self.counts)
        column.addWidget(self.warning)
        column.addWidget(_group("Tissue", self.tissue))
        column.addWidget(_group("Patches", self.patches))
        column.addLayout(patch)
        column.addWidget(_group("Features", self.features))
        column.addLayout(batch)
        column.addLayout(
            _row(self.save_button, self.extract_button, self.cancel_button)
        )
        column.addWidget(self.progress)
        column.addWidget(self.status)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(content)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll)

    def _connect(self) -> None:
        self.find_button.clicked.connect(self.find_tissue)
        self.tissue.changed(self._settings_changed)
        self.patches.changed(self._settings_changed)
        for box in (self.outline, self.accepted, self.rejected):
            box.toggled.connect(self._redraw)
        self.save_button.clicked.connect(self.save)
        self.extract_button.clicked.connect(self.extract)
        self.cancel_button.clicked.connect(self.cancel)
        self.preview.found.connect(self._show)
        self.preview.failed.connect(self.warning.setText)
        self.session.case_drawn.connect(self._show_slides)
        view = self.session.slide_view()
        view.opened.connect(self._slide_opened)
        view.hovered.connect(self._show_patch)
        self.destroyed.connect(self.preview.close)

    def _show_slides(self, case: Case | None) -> None:
        self.slides.clear()
        self.slides.addItems([path.name for path in case.slides] if case else [])
        if self.out.path is None and self.session.cohort is not None:
            self.out.set_path(self.session.work / "slides-by-hand")
        self._enable()

    def _choose(self, number: int) -> None:
        case = self.session.case
        if case is not None:
            try:
                self.session.slide_view().open(
                    case.slides[number], case.slide_mpp[number]
                )
            except Harm3Error as error:
                show_error(str(error))

    def _slide_opened(self, slide: Slide | None) -> None:
        self.shown = None
        self.warning.setText("" if slide is None else slide.mpp_note)
        if slide is not None:
            mpp = "unknown" if slide.mpp is None else f"{slide.mpp[0]:.3g}"
            self.counts.setText(f"{slide.name}: {mpp} µm per pixel. Press Find tissue.")
        self._enable()

    def _settings_changed(self) -> None:
        # Nothing is sought before it was asked for once; then every move counts.
        if self.shown is not None:
            self.find_tissue()

    def _show(self, found: Preview) -> None:
        slide = self.session.slide_view().slide
        if slide is None or slide.path != found.wish.slide:
            return
        self.shown = found
        self.warning.setText(found.warning)
        damaged = found.count(DAMAGED)
        self.counts.setText(
            f"{found.count(ACCEPTED)} patches accepted, {found.count(REJECTED)} "
            f"rejected{f', {damaged} damaged' if damaged else ''}; tissue on "
            f"{found.fraction:.0%} of the slide."
        )
        self._redraw()

    def _redraw(self) -> None:
        found, view = self.shown, self.session.slide_view()
        if found is None or view.slide is None:
            return
        view.show_tissue(found.outline)
        view.model.layers[TISSUE].visible = self.outline.isChecked()
        count = len(found.coords)
        if not self.rejected.isChecked():
            count -= found.count(REJECTED)
        view.show_patches(found.coords[:count], found.level0_px, found.status[:count])
        if PATCHES in view.model.layers:
            view.model.layers[PATCHES].visible = self.accepted.isChecked()

    def _show_patch(self, number: int) -> None:
        slide, found = self.session.slide_view().slide, self.shown
        if number < 0 or slide is None or found is None:
            return
        x, y = found.coords[number].tolist()
        said = [
            f"{found.status[number]}, {found.tissue[number] / 255:.0%} tissue",
            f"x {x}, y {y} (level 0)",
        ]
        try:
            pixels = read_patch(slide, x, y, level0_px=found.level0_px, size=THUMBNAIL)
        except Harm3Error as error:
            self.picture.clear()
            said.append(str(error))
        else:
            self.picture.setPixmap(_pixmap(pixels))
        self.about_patch.setText("\n".join(said))

    def _run(self, job: str, more: dict[str, Any]) -> None:
        slide, cohort, out = (
            self.session.slide_view().slide,
            self.session.cohort,
            self.out.path,
        )
        if out is None:
            self.status.setText("Choose an output folder first.")
            return
        params: dict[str, Any] = {
            "out": str(out),
            "tissue": to_plain(self.tissue.config()),
            "patches": {
                **to_plain(self.patches.config()),
                "stain": self.features.stain.currentText(),
            },
            **more,
        }
        if self.target.currentText() == ALL and cohort is not None:
            params["slides"] = [str(cohort.path)]
            params["allow_external"] = self.session.allow_external
        elif slide is not None:
            params |= {"slides": [str(slide.path)], "source_mpp": slide.stated_mpp}
        self.progress.setRange(0, 0)
        self.status.setText("Working ...")
        self._request = self.session.client.ask(
            job,
            params,
            Listener(
                then=self._finished, progress=self._progressed, failed=self._ended
            ),
        )
        self._enable()

    def _progressed(self, answer: Answer) -> None:
        self.progress.setRange(0, max(answer.of, 1))
        self.progress.setValue(answer.step)
        self.status.setText(f"{answer.stage}: {answer.text}")

    def _finished(self, result: dict[str, Any]) -> None:
        rows = result["slides"]
        counts = {
            status: sum(row["status"] == status for row in rows)
            for status in ("done", "damaged", "empty", "failed")
        }
        said = [f"{count} {status}" for status, count in counts.items() if count]
        bad = [
            f"{Path(row['slide']).name}: {row['message']}"
            for row in rows
            if row["message"]
        ]
        self._ended("\n".join([", ".join(said) + ".", *bad]))
        self.progress.setValue(self.progress.maximum())

    def _ended(self, message: str) -> None:
        self._request = None
        self.progress.setRange(0, 1)
        self.progress.setValue(0)
        self.status.setText(message or "Cancelled; slides that are finished are kept.")
        self._enable()

    def _enable(self) -> None:
        there = self.session.slide_view().slide is not None
        many = self.session.cohort is not None
        running = self._request is not None
        self.find_button.setEnabled(there)
        for button in (self.save_button, self.extract_button):
            button.setEnabled((there or many) and not running)
            button.setToolTip("" if there or many else "Open a slide or a cohort first")
        self.cancel_button.setEnabled(running)


class TissueForm(QWidget):
    """The ways to tell tissue from glass; the sliders belong to ours."""

    def __init__(self) -> None:
        super().__init__()
        self.preset = choice(PRESETS)
        self.saturation = _slider(0, 80)
        self.median = _slider(0, 300)
        self.closing = _slider(0, 300)
        self.area = _slider(0, 500)
        self.hole = _slider(0, 500)
        self.glass = QCheckBox("subtract the tint of glass")
        self.pen = QCheckBox("leave out pen marks")
        form = QFormLayout(self)
        rows = {
            "Preset": self.preset,
            "Saturation above": self.saturation,
            "Blur, µm": self.median,
            "Closing, µm": self.closing,
            "Least area, 1000 µm²": self.area,
            "Least hole, 1000 µm²": self.hole,
        }
        for name, field in rows.items():
            form.addRow(name, field)
        form.addRow(_row(self.glass, self.pen))
        self.preset.currentIndexChanged.connect(self._take_preset)
        self._take_preset(0)

    def config(self) -> AnyTissueConfig:
        """Return what the form says."""
        chosen = tuple(PRESETS.values())[self.preset.currentIndex()]
        if not isinstance(chosen, TissueConfig):
            return chosen
        return replace(
            chosen,
            saturation=self.saturation.value(),
            median_um=float(self.median.value()),
            closing_um=float(self.closing.value()),
            least_area_um2=1000.0 * self.area.value(),
            least_hole_um2=1000.0 * self.hole.value(),
            glass=self.glass.isChecked(),
            pen=self.pen.isChecked(),
        )

    def changed(self, slot: Any) -> None:
        """Call a slot after every change."""
        self.preset.currentTextChanged.connect(lambda _: slot())
        for slider in self._sliders():
            slider.valueChanged.connect(lambda _: slot())
        for box in (self.glass, self.pen):
            box.toggled.connect(lambda _: slot())

    def _sliders(self) -> tuple[QLabeledSlider, ...]:
        return self.saturation, self.median, self.closing, self.area, self.hole

    def _take_preset(self, number: int) -> None:
        chosen = tuple(PRESETS.values())[number]
        ours = isinstance(chosen, TissueConfig)
        fields = (*self._sliders(), self.glass, self.pen)
        for field in fields:
            field.setEnabled(ours)
            field.setToolTip("" if ours else "CLAM's figures are what they are")
            field.blockSignals(True)
        if isinstance(chosen, TissueConfig):
            self.saturation.setValue(chosen.saturation)
            self.median.setValue(round(chosen.median_um))
            self.closing.setValue(round(chosen.closing_um))
            self.area.setValue(round(chosen.least_area_um2 / 1000))
            self.hole.setValue(round(chosen.least_hole_um2 / 1000))
            self.glass.setChecked(chosen.glass)
            self.pen.setChecked(chosen.pen)
        for field in fields:
            field.blockSignals(False)


class PatchForm(QWidget):
    """The grid of patches."""

    def __init__(self) -> None:
        super().__init__()
        defaults = PatchConfig()
        self.rule = choice(RULES)
        self.size_px = QSpinBox()
        self.size_px.setRange(16, 4096)
        self.size_px.setValue(defaults.patch)
        self.mpp = QDoubleSpinBox()
        self.mpp.setRange(0.1, 10)
        self.mpp.setSingleStep(0.25)
        self.mpp.setValue(defaults.mpp)
        self.coarser = QCheckBox("accept a coarser slide")
        form = QFormLayout(self)
        form.addRow("Rule", self.rule)
        form.addRow("Side, pixels", self.size_px)
        form.addRow("µm per pixel", self.mpp)
        form.addRow(self.coarser)

    def config(self) -> PatchConfig:
        """Return what the form says."""
        return PatchConfig(
            patch=self.size_px.value(),
            mpp=self.mpp.value(),
            rule=RULES[self.rule.currentIndex()],
            allow_upsampling=self.coarser.isChecked(),
        )

    def changed(self, slot: Any) -> None:
        """Call a slot after every change."""
        self.rule.currentTextChanged.connect(lambda _: slot())
        self.size_px.valueChanged.connect(lambda _: slot())
        self.mpp.valueChanged.connect(lambda _: slot())
        self.coarser.toggled.connect(lambda _: slot())


class FeatureForm(QWidget):
    """The encoder of patches."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = QLineEdit(EncoderConfig().name)
        self.weights = PathField("Weights; without them it is untrained")
        self.stain = choice(STAINS)
        form = QFormLayout(self)
        form.addRow("Encoder", self.encoder)
        form.addRow("Weights", self.weights)
        form.addRow("Stain", self.stain)

    def config(self) -> EncoderConfig:
        """Return what the form says."""
        return EncoderConfig(name=self.encoder.text(), weights=self.weights.path)


def _slider(low: int, high: int) -> QLabeledSlider:
    slider = QLabeledSlider(Qt.Orientation.Horizontal)
    slider.setRange(low, high)
    return slider


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row


def _group(title: str, form: QWidget) -> QGroupBox:
    box = QGroupBox(title)
    layout = QVBoxLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(form)
    return box


def _pixmap(pixels: Any) -> QPixmap:
    height, width, _ = pixels.shape
    image = QImage(
        pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888
    )
    return QPixmap.fromImage(image.copy())
