"""Which heat map lies over the volumes: the model's evidence, or one beside it."""

from pathlib import Path
from typing import Any

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]  # per binding
from qtpy.QtWidgets import QComboBox

from napari_harm3.explain.config import KIND_TITLES
from napari_harm3.plugin.explanation_folder import EVIDENCE
from napari_harm3.plugin.layers import DrawnMaps, draw_maps
from napari_harm3.plugin.session import Session

TIPS = {
    EVIDENCE: "What speaks for the target, by the method that was chosen",
    "occlusion": "What the prediction loses where the volume is covered",
    "inherent": "What the patient's own half of the LD-VAE sees",
    "variant": "What the changing half of the LD-VAE sees",
    "cross": "What changes when the inherent part is that of the other time, Eq. (4)",
}
"""What each kind of map is, by the end of its file's name."""


def title_of(kind: str) -> str:
    """Return what a kind of map is called on screen."""
    return KIND_TITLES.get(kind, "Evidence" if kind == EVIDENCE else kind.capitalize())


class MapBox(QComboBox):
    """The maps of an explanation; read when first chosen, then kept."""

    ready = Signal(object)
    """The explanation whose chosen maps can be shown where the volumes are now."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._explanation: dict[str, Any] | None = None
        self._files: dict[str, dict[str, Path]] = {}
        self._kept: dict[tuple[str, bool], DrawnMaps] = {}
        self.setToolTip("Which map lies over the volumes")
        self.currentIndexChanged.connect(lambda _: self.ask())
        self.forget()

    @property
    def kind(self) -> str:
        """What is chosen."""
        return str(self.currentData() or EVIDENCE)

    @property
    def maps(self) -> DrawnMaps | None:
        """What is chosen, where the volumes are drawn now; None until it is read."""
        return self._kept.get((self.kind, self._aligned))

    def forget(self) -> None:
        """Keep nothing of a case."""
        self._explanation = None
        self._files, self._kept = {}, {}
        self._fill()

    def offer(self, explanation: dict[str, Any]) -> None:
        """Take the maps of an explanation, and read those that are chosen."""
        self._explanation, self._kept = explanation, {}
        kinds = {EVIDENCE: explanation["maps"], **explanation.get("also", {})}
        self._files = {
            kind: {role: Path(path) for role, path in files.items()}
            for kind, files in kinds.items()
            if files or kind == EVIDENCE
        }
        self._fill()
        self.ask()

    def ask(self) -> None:
        """Read what is chosen, unless that was done; `ready` tells the end."""
        explanation, kind, aligned = self._explanation, self.kind, self._aligned
        if explanation is None:
            return
        if self.maps is not None:
            self.ready.emit(explanation)
            return
        files, transforms = self._files[kind], self._session.transforms
        worker = create_worker(
            lambda: (explanation, (kind, aligned), draw_maps(files, transforms))
        )
        # Of a panel that was closed meanwhile, only its own methods are let go.
        worker.returned.connect(self._keep)
        worker.errored.connect(lambda error: show_error(str(error)))
        worker.start()

    @property
    def _aligned(self) -> bool:
        return bool(self._session.transforms)

    def _keep(self, drawn: tuple[dict[str, Any], tuple[str, bool], DrawnMaps]) -> None:
        explanation, key, maps = drawn
        if explanation is not self._explanation:
            return
        self._kept[key] = maps
        if key == (self.kind, self._aligned):  # nothing else was chosen meanwhile
            self.ready.emit(explanation)

    def _fill(self) -> None:
        """List the kinds that there are; what was chosen stays so if it is there."""
        before = self.kind
        self.blockSignals(True)
        self.clear()
        for kind in self._files or (EVIDENCE,):
            title, tip = title_of(kind), TIPS.get(kind, "")
            self.addItem(title, kind)
            self.setItemData(self.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.setCurrentIndex(max(self.findData(before), 0))
        self.setEnabled(self.count() > 1)
        self.blockSignals(False)
