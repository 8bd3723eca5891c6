"""Panel: train a method; the run goes on when the window is closed."""

import json
import sys
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error
from napari.viewer import Viewer
from qtpy.QtCore import QProcess, QTimer
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.parts import Curve, PathField, choice, note
from napari_harm3.training.config import METHODS, RunConfig

POLL_MS = 500


class TrainWidget(QWidget):
    """Start a detached run, follow its events, stop it through its folder."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = Session.of(napari_viewer)
        self._read = 0
        self._done: dict[int, int] = {}
        self.method = choice(METHODS)
        self.size_box = choice(("small", "full"))
        self.size_box.currentTextChanged.connect(self._defaults)
        self.device = choice(("auto", "cpu", "cuda"))
        self.folds = _number(2, 20, RunConfig.of("harm3", "small").folds)
        self.epochs = _number(1, 1000, 1)
        self.seed = _number(0, 99999, 0)
        self.run_path = PathField("Run folder", folder=True, chosen=self.follow)
        self.start_button = QPushButton("Start")
        self.start_button.clicked.connect(lambda: self.start(resume=False))
        self.resume_button = QPushButton("Resume")
        self.resume_button.clicked.connect(lambda: self.start(resume=True))
        self.stop_button = QPushButton("Stop")
        self.stop_button.clicked.connect(self.stop)
        self.progress = QProgressBar()
        self.curve = Curve("loss, one line a fold")
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(500)
        self.status = note("Choose a cohort in the Cases panel and a run folder here.")
        form = QFormLayout()
        rows = {
            "Method": self.method,
            "Size": self.size_box,
            "Device": self.device,
            "Folds": self.folds,
            "Epochs": self.epochs,
            "Seed": self.seed,
            "Output": self.run_path,
        }
        for name, field in rows.items():
            form.addRow(name, field)
        buttons = QHBoxLayout()
        for button in (self.start_button, self.resume_button, self.stop_button):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.curve)
        layout.addWidget(self.log, 1)
        layout.addWidget(self.status)
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._poll)
        self._defaults(self.size_box.currentText())

    def start(self, *, resume: bool) -> None:
        """Start the run in a process of its own, which outlives this window."""
        cohort, run = self.session.cohort, self.run_path.path
        if cohort is None or run is None:
            self.status.setText("Choose a cohort in the Cases panel and a run folder.")
            return
        if (run / "run.toml").exists() and not resume:
            self.status.setText(
                "The folder holds a run: press Resume, or choose another."
            )
            return
        if not resume:
            run.mkdir(parents=True, exist_ok=True)
        self._restart(run)
        started, _ = QProcess.startDetached(
            sys.executable, self.arguments(resume=resume)
        )
        if not started:
            show_error("The training process could not be started.")
            return
        self.status.setText("Started; it goes on when this window is closed.")

    def arguments(self, *, resume: bool) -> list[str]:
        """Return the command line of the training process."""
        cohort, run = self.session.cohort, self.run_path.path
        options = {
            "--out": run,
            "--work": self.session.work,
            "--method": self.method.currentText(),
            "--size": self.size_box.currentText(),
            "--device": self.device.currentText(),
            "--folds": self.folds.value(),
            "--epochs": self.epochs.value(),
            "--seed": self.seed.value(),
        }
        words = [str(word) for pair in options.items() for word in pair]
        table = "" if cohort is None else str(cohort.path)
        main = ["-m", "napari_harm3.cli.main", "train", table, *words, "--json"]
        switches = {
            "--resume": resume,
            "--allow-external": self.session.allow_external,
        }
        return [*main, *(name for name, on in switches.items() if on)]

    def stop(self) -> None:
        """Ask the run to stop after its step; it can be resumed."""
        run = self.run_path.path
        if run is not None and run.exists():
            (run / "stop").touch()
            self.status.setText("Stopping after this step ...")

    def follow(self, run: Path) -> None:
        """Show a run that is there already, running or finished."""
        if (run / "events.jsonl").exists():
            self._restart(run)
            self._poll()

    def _restart(self, run: Path) -> None:
        events = run / "events.jsonl"
        self._read = 0
        self._done.clear()
        self.curve.clear()
        self.log.clear()
        self.progress.setRange(0, 0)
        if events.exists():
            self._poll()
        self._timer.start()

    def _poll(self) -> None:
        run = self.run_path.path
        if run is None or not (run / "events.jsonl").exists():
            return
        with (run / "events.jsonl").open(encoding="utf-8") as stream:
            stream.seek(self._read)
            while (line := stream.readline()).endswith("\n"):
                self._read = stream.tell()
                self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind == "epoch":
            self.curve.add(event["fold"], event["loss"])
            self._done[event["fold"]] = event["epoch"]
            self.progress.setRange(0, event["epochs"] * self.folds.value())
            self.progress.setValue(sum(self._done.values()))
            self.status.setText(
                f"Fold {event['fold']}, epoch {event['epoch']}/{event['epochs']}, "
                f"loss {event['loss']:.3f}"
            )
            return
        self.log.appendPlainText(str(event.get("text", kind)))
        if kind == "done":
            auc = event["metrics"]["auc"]
            self.status.setText(
                f"Finished: AUC {auc['mean']:.3f} "
                f"(95 % CI {auc['ci95'][0]:.3f} to {auc['ci95'][1]:.3f})."
            )
            self.progress.setValue(self.progress.maximum())
        elif kind == "stopped":
            self.status.setText("Stopped; press Resume to go on.")
        if kind in ("done", "stopped"):
            self._timer.stop()

    def _defaults(self, size: str) -> None:
        config = RunConfig.of("harm3", "small" if size == "small" else "full")
        self.epochs.setValue(config.training.epochs)


def _number(low: int, high: int, value: int) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setValue(value)
    return box
