"""How far a volume's map agrees with its annotation, beside chance and ceiling."""

from collections.abc import Mapping
from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_harm3.cohort.case import TITLES
from napari_harm3.plugin.widgets.parts import Table, choice, note

HEADER = ("Measure", "Value", "Chance", "Ceiling", "Norm.")
TIPS = (
    "What this map reaches",
    "What a map that says nothing would reach",
    "What the best map of such coarse cells could reach",
    "0 at chance, 1 at the ceiling",
)
MEASURES = {
    "pointing_game": ("Pointing game", 2, "1 if the map's peak lies in the lesion"),
    "pointing_game_half_cell": (
        "Pointing, ± half a cell",
        2,
        "1 if the peak lies within half a cell of the lesion",
    ),
    "energy": ("Energy in lesion", 2, "Share of the map's sum that lies in the lesion"),
    "energy_gain": ("Energy gain", 1, "That share over the lesion's share of the view"),
    "dice": ("Dice at half peak", 2, "Of the map above half of its peak"),
    "auc": ("ROC-AUC", 2, "How well the map ranks lesion voxels above others"),
    "ap": ("Average precision", 2, "The same, for few lesion voxels among many"),
    "peak_distance_mm": ("Peak to lesion, mm", 1, "Distance; less is better"),
}
"""Measure: title, decimals and what it is."""

UNION = "union"
LABELS = {UNION: "All lesions", "primary": "Primary", "nodes": "Nodes"}
ROW_PIXELS = 23
NONE_YET = "The figures stand here once a case is explained."


class AgreementBox(QWidget):
    """One volume and one label at a time; the first that can be compared is shown."""

    def __init__(self) -> None:
        super().__init__()
        self._agreement: Mapping[str, Any] = {}
        self._reason = NONE_YET
        self.volume, self.label = choice(()), choice(())
        self.volume.setToolTip("Volume whose map is compared with its annotation")
        self.label.setToolTip("Which of the annotated lesions count")
        self.table = Table(HEADER)
        self.reason = note(NONE_YET)
        rows = self.table.verticalHeader()
        if rows is not None:
            rows.setDefaultSectionSize(ROW_PIXELS)
        self.table.stretch(0)
        self.table.setFixedHeight((len(MEASURES) + 1) * ROW_PIXELS + 8)
        self.volume.currentIndexChanged.connect(self._list_labels)
        self.label.currentIndexChanged.connect(self._show)
        choices = QHBoxLayout()
        choices.addWidget(self.volume, 3)
        choices.addWidget(self.label, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(choices)
        layout.addWidget(self.reason)
        layout.addWidget(self.table)
        self.fill({})

    def fill(self, agreement: Mapping[str, Any], reason: str = NONE_YET) -> None:
        """Show the agreement of a kind of map; the volume on show stays so.

        Parameters
        ----------
        agreement
            Measures by role.
        reason
            Why there are none, if there are none.
        """
        before, self._agreement, self._reason = self._role, agreement, reason
        able = [role for role, one in agreement.items() if "not_applicable" not in one]
        first = before if before in agreement else next(iter(able), None)
        self.volume.blockSignals(True)
        self.volume.clear()
        for role in agreement:
            self.volume.addItem(TITLES[role], role)
        self.volume.setCurrentIndex(max(self.volume.findData(first), 0))
        self.volume.blockSignals(False)
        self._list_labels()

    @property
    def _role(self) -> str | None:
        role = self.volume.currentData()
        return None if role is None else str(role)

    @property
    def _measures(self) -> Mapping[str, Any]:
        return self._agreement.get(self._role or "", {})

    def _list_labels(self) -> None:
        before = self.label.currentData()
        self.label.blockSignals(True)
        self.label.clear()
        for label in (UNION, *self._measures.get("labels", {})):
            self.label.addItem(LABELS.get(label, label.capitalize()), label)
        self.label.setCurrentIndex(max(self.label.findData(before), 0))
        self.label.blockSignals(False)
        self.label.setEnabled(self.label.count() > 1)
        self._show()

    def _show(self) -> None:
        measures = self._measures
        label = self.label.currentData()
        if label not in (None, UNION):
            measures = measures["labels"][label]
        reason = measures.get("not_applicable", "" if measures else self._reason)
        self.reason.setText(f"{reason[:1].upper()}{reason[1:]}")
        self.reason.setVisible(bool(reason))
        self.volume.setVisible(bool(self._agreement))
        self.label.setVisible(bool(self._agreement))
        self.table.setVisible(not reason)
        rows = [] if reason else agreement_rows(measures)
        self.table.fill(rows, ("", *TIPS))
        for number, row in enumerate(rows):
            tip = next(tip for title, _, tip in MEASURES.values() if title == row[0])
            item = self.table.item(number, 0)
            if item is not None:
                item.setToolTip(tip)


def agreement_rows(measures: Mapping[str, Any]) -> list[list[str]]:
    """Return title, value, chance, ceiling and normalised figure of each measure."""
    rows = []
    for key, (title, decimals, _) in MEASURES.items():
        if key in measures:
            entry, even = measures[key], measures.get("normalised", {})
            figures = [entry[name] for name in ("value", "chance", "ceiling")]
            shown = [_figure(one, decimals) for one in figures]
            rows.append([title, *shown, _figure(even.get(key), 2)])
    return rows


def _figure(value: float | None, decimals: int) -> str:
    if value is None:
        return "-"
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # no -0.00
