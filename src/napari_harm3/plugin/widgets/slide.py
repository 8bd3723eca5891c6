"""Panel: tissue and patches of a slide, while the sliders move; all slides at once."""

from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from pydantic import ValidationError
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_harm3.cohort.case import Case
from napari_harm3.config import to_plain
from napari_harm3.errors import Harm3Error
from napari_harm3.plugin.forms import ConfigForm, Shown
from napari_harm3.plugin.keys import bind_keys
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.slide_view import (
    ACCEPTED,
    DAMAGED,
    REJECTED,
    STATUSES,
)
from napari_harm3.plugin.tissue_preview import Preview, Rings, TissuePreview, Wish
from napari_harm3.plugin.widgets.parts import (
    WARNING,
    PathField,
    Scrolled,
    choice,
    note,
)
from napari_harm3.plugin.widgets.slide_batch import SlideBatch
from napari_harm3.wsi.config import (
    PRESETS,
    AnyTissueConfig,
    PatchConfig,
    TissueConfig,
)
from napari_harm3.wsi.patch_pixels import read_patch
from napari_harm3.wsi.resolution import PLAUSIBLE_MPP
from napari_harm3.wsi.slide import Slide

NO_SLIDE = "Open a case with a slide, or a slide here."
NO_PATCHES = np.zeros((0, 2), np.int64), (1.0, 1.0), np.zeros(0, np.uint8)
THUMBNAIL = 112
SLIDES = "Slides (*.svs *.tif *.tiff *.ndpi *.mrxs *.scn *.bif *.dcm);;All files (*)"
TISSUE_FIELDS = {
    "saturation": Shown(label="Saturation above", most=80),
    "median_um": Shown(label="Blur, µm", most=300),
    "closing_um": Shown(label="Closing, µm", most=300),
    "least_area_um2": Shown(label="Least area, µm²", most=500_000, step=1000),
    "least_hole_um2": Shown(label="Least hole, µm²", most=500_000, step=1000),
    "glass": Shown(label="Subtract the tint of glass"),
    "pen": Shown(label="Leave out pen marks"),
}
PATCH_FIELDS = {
    "rule": Shown(label="Rule"),
    "patch": Shown(label="Side, pixels"),
    "mpp": Shown(label="µm per pixel", step=0.05),
    "stain": Shown(label="Stain brought to"),
    "allow_upsampling": Shown(label="Accept a coarser slide"),
}


class SlideWidget(QWidget):
    """Choose how tissue and patches are found, see them, work on many slides."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = Session.of(napari_viewer)
        self.preview = TissuePreview(self)
        self.shown: Preview | None = None
        self._sought = False
        self.slides = choice(())
        self.path = PathField("Another slide", pattern=SLIDES, chosen=self.open)
        self.own_mpp = _mpp_box()
        self.find_button = QPushButton("Find tissue")
        self.outline = QCheckBox("outline")
        self.accepted = QCheckBox("patches")
        self.rejected = QCheckBox("rejected ones")
        self.counts = note(NO_SLIDE)
        self.warning = note(look=WARNING)
        self.preset = choice(PRESETS)
        self.tissue = ConfigForm(TissueConfig(), TISSUE_FIELDS)
        self.patches = ConfigForm(PatchConfig(), PATCH_FIELDS)
        self.picture = QLabel()
        self.picture.setFixedSize(THUMBNAIL, THUMBNAIL)
        self.about_patch = note("Point at a patch on the slide.")
        self.batch = SlideBatch(self.session, self._settings)
        self._lay_out()
        self._connect()
        self._show_slides(self.session.case)
        bind_keys(napari_viewer, self, {})

    def open(self, path: Path, source_mpp: float | None = None) -> None:
        """Show a slide; what cannot be opened is told and changes nothing."""
        try:
            self.session.slide_view().open(path, source_mpp)
        except Harm3Error as error:
            show_error(str(error))

    def find_tissue(self) -> None:
        """Outline the tissue of the slide on show, as the forms say."""
        slide = self.session.slide_view().slide
        if slide is None:
            return
        self._sought = True
        try:
            wish = Wish(
                slide=slide.path,
                mpp=slide.stated_mpp,
                tissue=self._tissue_config(),
                patches=self.patches.config(),
            )
        except ValidationError as error:
            self._refuse(error.errors()[0]["msg"])
            return
        self.preview.ask(wish)

    def _lay_out(self) -> None:
        policy = self.slides.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        self.slides.setSizeAdjustPolicy(policy)  # a long name widens no panel
        source = QFormLayout()
        source.addRow("Slide", self.slides)
        source.addRow("", self.path)
        source.addRow("Its µm per pixel", self.own_mpp)
        patch = QHBoxLayout()
        patch.addWidget(self.picture)
        patch.addWidget(self.about_patch, 1)
        content = QWidget()
        column = QVBoxLayout(content)
        column.addLayout(source)
        column.addLayout(
            _row(self.find_button, self.outline, self.accepted, self.rejected)
        )
        column.addWidget(self.counts)
        column.addWidget(self.warning)
        column.addLayout(patch)
        column.addWidget(_group("Tissue", self.preset, self.tissue))
        column.addWidget(_group("Patches", self.patches))
        column.addWidget(_group("Features and files", self.batch))
        column.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(Scrolled(content))

    def _connect(self) -> None:
        self.find_button.setToolTip("Seek tissue and patches, as the forms below say")
        self.outline.setToolTip("Show the outline of the tissue")
        self.accepted.setToolTip("Show the patches, accepted ones among them")
        self.rejected.setToolTip("Also those with too little tissue")
        self.slides.activated.connect(self._choose)
        self.own_mpp.editingFinished.connect(self._state_mpp)
        self.find_button.clicked.connect(self.find_tissue)
        self.preset.currentTextChanged.connect(self._take_preset)
        self.tissue.changed.connect(self._settings_changed)
        self.patches.changed.connect(self._settings_changed)
        for box in (self.outline, self.accepted, self.rejected):
            box.setChecked(True)
            box.toggled.connect(self._redraw)
        self.preview.outlined.connect(self._show_outline)
        self.preview.found.connect(self._show)
        self.preview.failed.connect(self._say_failed)
        self.session.case_drawn.connect(self._show_slides)
        self.session.cohort_changed.connect(self._cohort_changed)
        view = self.session.slide_view()
        view.opened.connect(self._slide_opened)
        view.hovered.connect(self._show_patch)
        self.destroyed.connect(self.preview.close)

    def _cohort_changed(self) -> None:
        self._show_slides(None)

    def _show_slides(self, case: Case | None) -> None:
        self.slides.clear()
        self.slides.addItems([path.name for path in case.slides] if case else [])
        self._enable()

    def _choose(self, number: int) -> None:
        case = self.session.case
        if case is not None:
            self.open(case.slides[number], case.slide_mpp[number])

    def _state_mpp(self) -> None:
        """Open the slide anew at the resolution that its user says."""
        slide = self.session.slide_view().slide
        stated = self.own_mpp.value() or None
        if slide is not None and stated != slide.stated_mpp:
            self.open(slide.path, stated)

    def _slide_opened(self, slide: Slide | None) -> None:
        self.shown, self._sought = None, False
        self.counts.setText(NO_SLIDE)
        self.warning.setText("" if slide is None else slide.mpp_note)
        if slide is not None:
            mpp = "unknown" if slide.mpp is None else f"{slide.mpp[0]:.3g}"
            self.counts.setText(f"{slide.name}: {mpp} µm per pixel. Press Find tissue.")
            unstated = "as the file says" if slide.mpp else "not stated"
            self.own_mpp.setSpecialValueText(unstated)
            self.own_mpp.setValue(slide.stated_mpp or 0)
        self._enable()

    def _tissue_config(self) -> AnyTissueConfig:
        chosen = tuple(PRESETS.values())[self.preset.currentIndex()]
        return self.tissue.config() if isinstance(chosen, TissueConfig) else chosen

    def _take_preset(self) -> None:
        chosen = tuple(PRESETS.values())[self.preset.currentIndex()]
        ours = isinstance(chosen, TissueConfig)
        self.tissue.setEnabled(ours)
        self.tissue.setToolTip("" if ours else "CLAM's figures are fixed.")
        if isinstance(chosen, TissueConfig):
            self.tissue.show_config(chosen)
        self._settings_changed()

    def _settings_changed(self) -> None:
        # Nothing is sought before it was asked for once; then every move counts.
        if self._sought:
            self.find_tissue()

    def _show_outline(self, wish: Wish, outline: Rings) -> None:
        if self._is_on_show(wish):
            self.session.slide_view().show_tissue(outline)

    def _say_failed(self, wish: Wish, message: str) -> None:
        if self._is_on_show(wish):
            self._refuse(message)

    def _refuse(self, why: str) -> None:
        """Say why nothing is found now; what was found before is shown no longer."""
        self.shown = None
        self.counts.setText("")
        self.warning.setText(why)
        self.session.slide_view().show_patches(*NO_PATCHES)

    def _is_on_show(self, wish: Wish) -> bool:
        """Return whether a wish was for the slide as it is open now."""
        slide = self.session.slide_view().slide
        wished = wish.slide, wish.mpp
        return slide is not None and (slide.path, slide.stated_mpp) == wished

    def _show(self, found: Preview) -> None:
        if not self._is_on_show(found.wish):
            return
        self.shown = found
        self.warning.setText(found.warning or _too_small(found))
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
        view.show_patches(
            found.coords,
            found.level0_px,
            found.status,
            rejected=self.rejected.isChecked(),
        )
        view.tissue.visible = self.outline.isChecked()
        view.patches.visible = self.accepted.isChecked()

    def _show_patch(self, number: int) -> None:
        slide, found = self.session.slide_view().slide, self.shown
        if number < 0 or slide is None or found is None:
            return
        (x, y), status = found.coords[number].tolist(), STATUSES[found.status[number]]
        said = [
            f"{status}, {found.tissue[number] / 255:.0%} tissue",
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

    def _settings(self) -> dict[str, Any]:
        return {
            "tissue": to_plain(self._tissue_config()),
            "patches": to_plain(self.patches.config()),
        }

    def _enable(self) -> None:
        self.find_button.setEnabled(self.session.slide_view().slide is not None)
        self.batch.enable()


def _too_small(found: Preview) -> str:
    """Say why there is not one patch, not even a rejected one."""
    if len(found.coords):
        return ""
    across, down = (round(side) for side in found.level0_px)
    return (
        f"The slide is smaller than one patch, {across} x {down} of its pixels: lower "
        "the side or the µm per pixel under Patches."
    )


def _mpp_box() -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setDecimals(4)
    box.setRange(0, PLAUSIBLE_MPP[1])
    box.setSpecialValueText("as the file says")
    box.setToolTip("State the slide's resolution where the file does not, or is wrong")
    return box


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row


def _group(title: str, *content: QWidget) -> QGroupBox:
    box = QGroupBox(title)
    layout = QVBoxLayout(box)
    layout.setContentsMargins(4, 8, 4, 4)
    for widget in content:
        layout.addWidget(widget)
    return box


def _pixmap(pixels: Any) -> QPixmap:
    height, width, _ = pixels.shape
    image = QImage(
        pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888
    )
    return QPixmap.fromImage(image.copy())
