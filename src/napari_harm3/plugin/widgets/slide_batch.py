"""Part of the Slide panel: write outlines, patches and features of one slide or all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_harm3.config import to_plain
from napari_harm3.plugin.client import Listener
from napari_harm3.plugin.forms import ConfigForm, Shown
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.parts import PathField, choice, note
from napari_harm3.worker.messages import Answer
from napari_harm3.wsi.config import EncoderConfig

THIS, ALL = "this slide", "all slides of the cohort"
ENCODER_FIELDS = {
    "name": Shown(label="Encoder"),
    "batch": Shown(label="Patches at once"),
    "precision": Shown(label="Precision"),
}


class SlideBatch(QWidget):
    """Runs in the worker, one slide or every one of the cohort.

    Parameters
    ----------
    session
        Holds the cohort, the slide on show and the worker.
    settings
        Returns ``tissue`` and ``patches`` as the panel's forms say.
    """

    def __init__(
        self, session: Session, settings: Callable[[], dict[str, Any]]
    ) -> None:
        super().__init__()
        self._session, self._settings = session, settings
        self._request: int | None = None
        self.encoder = ConfigForm(EncoderConfig(), ENCODER_FIELDS)
        self.weights = PathField("Weights; without them it is untrained")
        self.target = choice((THIS, ALL))
        self.out = PathField("Output folder", folder=True)
        self.save_button = QPushButton("Save outline and patches")
        self.save_button.clicked.connect(self.save)
        self.extract_button = QPushButton("Extract features")
        self.extract_button.clicked.connect(self.extract)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(self.cancel)
        self.progress = QProgressBar()
        self.status = note()
        form = QFormLayout()
        form.addRow(self.encoder)
        form.addRow("Weights", self.weights)
        form.addRow("Work on", self.target)
        form.addRow("Into", self.out)
        buttons = QHBoxLayout()
        for button in (self.save_button, self.extract_button, self.cancel_button):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.status)
        self.enable()

    def save(self) -> None:
        """Write outline, mask and patches."""
        self._run("find_tissue", {})

    def extract(self) -> None:
        """Turn patches into features."""
        encoder, weights = to_plain(self.encoder.config()), self.weights.path
        encoder["weights"] = None if weights is None else str(weights)
        self._run("extract_features", {"encoder": encoder})

    def cancel(self) -> None:
        """Stop; slides that are finished are kept."""
        if self._request is not None:
            self._session.client.cancel(self._request)

    def enable(self) -> None:
        """Allow what there is something to work on for."""
        if self._session.cohort is not None:
            self.out.suggest(self._session.work / "slides-by-hand")
        slide = self._session.slide_view().slide
        ready = slide is not None or self._session.cohort is not None
        for button, tip in (
            (self.save_button, "Write outline, mask and patches into the folder"),
            (self.extract_button, "Turn the patches into features, into the folder"),
        ):
            button.setEnabled(ready and self._request is None)
            button.setToolTip(tip if ready else "Open a slide or a cohort first")
        self.cancel_button.setEnabled(self._request is not None)

    def _run(self, job: str, more: dict[str, Any]) -> None:
        slide, cohort = self._session.slide_view().slide, self._session.cohort
        params: dict[str, Any] = {"out": str(self.out.path), **self._settings(), **more}
        if self.out.path is None:
            self.status.setText("Choose an output folder first.")
            return
        if self.target.currentText() == ALL:
            if cohort is None:
                self.status.setText(f"Open a cohort first, to work on {ALL}.")
                return
            params["slides"] = [str(cohort.path)]
            params["allow_external"] = self._session.allow_external
        elif slide is not None:
            params |= {"slides": [str(slide.path)], "source_mpp": slide.stated_mpp}
        else:
            self.status.setText("Open a slide first, or work on all of the cohort.")
            return
        self.progress.setRange(0, 0)
        self.status.setText("Working ...")
        self._request = self._session.client.ask(
            job,
            params,
            Listener(
                then=self._finished, progress=self._progressed, failed=self._ended
            ),
        )
        self.enable()

    def _progressed(self, answer: Answer) -> None:
        if answer.warning:
            self.status.setText(answer.text)
            return
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
        self.enable()
