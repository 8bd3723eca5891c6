"""Which maps the Explain panel asks for, and how they are made."""

from dataclasses import replace

from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QWidget

from napari_harm3.explain.config import Also, ExplainConfig, ExplainRequest
from napari_harm3.plugin.forms import ConfigForm, FieldGrid, Shown
from napari_harm3.plugin.widgets.parts import choice

LAYERS = ("last", "stage4", "stage3", "stage2", "stage1", "stem")
"""Of every encoder here, the coarsest first; a model says which of them it has."""

LAYER_TIP = (
    "Layer of the volumes' encoder: the last, or a finer one; choose layercam or "
    "hirescam for these"
)
ALSO: dict[Also, tuple[str, str]] = {
    "occlusion": ("occlusion", "Cover the volumes cube by cube: slow, and the surest"),
    "decoupled": ("LD-VAE's parts", "What the inherent and the variant part see"),
}
"""Maps that are made beside the evidence when asked for: label and tip."""


class MapChoices(ConfigForm[ExplainConfig]):
    """A form over all that may be asked of a case."""

    def __init__(self) -> None:
        grid = FieldGrid(2)
        super().__init__(
            ExplainConfig(),
            {"method": Shown(label="Method"), "target": Shown(label="Evidence of")},
            grid=grid,
        )
        self.layer = choice(LAYERS)
        self.layer.setToolTip(LAYER_TIP)
        self.also = {kind: QCheckBox(label) for kind, (label, _) in ALSO.items()}
        boxes = QWidget()
        row = QHBoxLayout(boxes)
        row.setContentsMargins(0, 0, 0, 0)
        for kind, box in self.also.items():
            box.setToolTip(ALSO[kind][1])
            row.addWidget(box)
        row.addStretch(1)
        grid.add("Layer", self.layer)
        grid.add("Also", boxes, wide=True)

    def config(self) -> ExplainConfig:
        """Return how the model's own maps are made."""
        return replace(super().config(), layer=self.layer.currentText())

    def show_config(self, config: ExplainConfig) -> None:
        """Say how maps were made, telling nobody."""
        super().show_config(config)
        self.layer.setCurrentText(config.layer)

    def request(self) -> ExplainRequest:
        """Return these maps, and those beside them."""
        also = tuple(kind for kind, box in self.also.items() if box.isChecked())
        return ExplainRequest(maps=self.config(), also=also)
