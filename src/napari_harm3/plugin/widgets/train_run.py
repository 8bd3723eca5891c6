"""Part of the Train panel: one method, fold by fold."""

import json
from collections.abc import Mapping
from contextlib import suppress
from html import escape
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_harm3.errors import Harm3Error
from napari_harm3.plugin.forms import ConfigForm, FieldGrid, Shown
from napari_harm3.plugin.run_process import Status
from napari_harm3.plugin.run_state import PLAN, RunState
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.widgets.curve import TALLEST, Curve
from napari_harm3.plugin.widgets.method_box import MethodBox, about
from napari_harm3.plugin.widgets.parts import PathField, note
from napari_harm3.plugin.widgets.run_controls import (
    RunControls,
    epoch_words,
    result_words,
)
from napari_harm3.plugin.widgets.train_parts import (
    CHOOSE,
    FIELDS,
    START,
    at_once_box,
    command,
    device_box,
)
from napari_harm3.training.config import RunConfig

RUN_FIELDS = FIELDS | {"training.epochs": Shown(label="Epochs")}
WIDE = 620
"""Pixels from which on the two plots stand side by side."""

MOST = 4
"""Notes that have room; warnings always have."""


class RunPanel(QWidget):
    """Start a detached run, follow its events, talk to it through its folder."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        grid = FieldGrid(2)
        self.method = MethodBox()
        self.about = note()
        grid.add("Method", self.method, wide=True)
        grid.add("", self.about, wide=True)
        self.form = ConfigForm(START, RUN_FIELDS, grid=grid)
        self.device, self.at_once = device_box(), at_once_box()
        self.run_path = PathField("Run folder", folder=True, chosen=self.follow)
        grid.add("Device", self.device)
        grid.add("At once", self.at_once)
        grid.add("Folder", self.run_path, wide=True)
        self.controls = RunControls(self._words, self.start)
        self.loss = Curve("Loss")
        self.auc = Curve("AUC: inner, ◆ held out", bounds=(0, 1), level=0.5)
        self.said = Messages()
        plots = SideBySide(self.loss, self.auc)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        for widget in (self.form, self.controls):
            layout.addWidget(widget)
        layout.addWidget(plots, 100)
        layout.addWidget(self.said)
        layout.addStretch(1)
        self.method.currentIndexChanged.connect(self._defaults)
        self.form.fields["size"].changed.connect(self._defaults)
        self.controls.changed.connect(self._draw)
        session.cohort_changed.connect(self._suggest)
        self._defaults()

    def start(self, resume: bool) -> None:
        """Begin the run in a process of its own, or go on with it."""
        run = self.run_path.path
        source = None if run is None else self._source(run, resume=resume)
        if source is None or run is None:
            self.controls.say(CHOOSE, ill=True)
            return
        if (run / PLAN).exists() and not resume:
            self.follow(run)
            self.controls.say(
                "The folder holds a run: press Resume, or choose another.", ill=True
            )
            return
        self.controls.begin(RunState(run), self.arguments(*source, resume=resume))

    def arguments(self, cohort: Path, work: Path | None, *, resume: bool) -> list[str]:
        """Return what ``harm3`` is told."""
        run, values = self.run_path.path, self._values()
        options: dict[str, object] = {
            "--out": run,
            "--work": work,
            "--device": self.device.currentText().strip() or "auto",
            "--jobs": self.at_once.value(),
        }
        if resume and run is not None:
            # What decides the run stands in its folder, whatever the form says now.
            options["--config"] = run / PLAN
        else:
            options["--method"] = self.method.method.name
            for name in ("size", "folds", "repeats", "seed"):
                options[f"--{name}"] = values[name]
            if self.method.method.group != "own":
                options["--epochs"] = values["training.epochs"]
        switches = {
            "--resume": resume,
            "--allow-external": self.session.allow_external,
        }
        return command("train", cohort, options=options, switches=switches)

    def follow(self, run: Path) -> None:
        """Show the run in a folder, whether it works, waits or is finished."""
        process = self.controls.process_in(RunState(run))
        self.controls.follow(process)
        plan = process.state.plan
        if plan:
            self.method.choose(str(plan["method"]))
            for name in RUN_FIELDS:
                value = plan["training"] if name.startswith("training.") else plan
                self.form.fields[name].value = value[name.removeprefix("training.")]

    def _source(self, run: Path, *, resume: bool) -> tuple[Path, Path | None] | None:
        """Return cohort and work folder: the run's own, or those on show."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads((run / "source.json").read_text(encoding="utf-8"))
            cohort, work = (run / said["cohort"]).resolve(), said["work"]
            if resume and cohort.exists():
                return cohort, None if work is None else (run / work).resolve()
        if self.session.cohort is None:
            return None
        return self.session.cohort.path, self.session.work

    def _values(self) -> dict[str, object]:
        return {name: field.value for name, field in self.form.fields.items()}

    def _words(self, status: Status) -> str:
        state = self.controls.state
        if state is None:
            return ""
        if status == "done":
            return result_words(state.metrics) if state.metrics else "Finished."
        return epoch_words(state)

    def _draw(self) -> None:
        state = self.controls.state
        if state is None:
            return
        folds = dict(sorted(state.folds.items()))
        epochs = max((fold.epochs for fold in folds.values()), default=0)
        self.loss.draw({n: fold.loss for n, fold in folds.items()}, epochs=epochs)
        held_out = {
            n: (max(fold.epoch, 1), fold.held_out)
            for n, fold in folds.items()
            if fold.held_out is not None
        }
        lines = {n: fold.auc for n, fold in folds.items()}
        self.auc.draw(lines, held_out, epochs=epochs)
        self.said.show_messages(state.said)

    def _defaults(self, *_: object) -> None:
        """Give the epochs of a method's recipe; another package's stays unloaded."""
        method = self.method.method
        self.about.setText(about(method))
        epochs = self.form.fields["training.epochs"].native
        epochs.setEnabled(method.group != "own")
        epochs.setToolTip(
            "As the method's own recipe says" if method.group == "own" else ""
        )
        if method.group != "own":
            small = self.form.fields["size"].value == "small"
            try:
                config = RunConfig.of(method.name, "small" if small else "full")
            except Harm3Error as error:
                self.controls.say(str(error), ill=True)
                return
            self.form.fields["training.epochs"].value = config.training.epochs
        self._suggest()

    def _suggest(self, *_: object) -> None:
        """Name a folder that is free, unless the user named one."""
        self.controls.invite(ready=self.session.cohort is not None)
        if self.session.cohort is None:
            return
        runs, name = self.session.work / "runs", self.method.method.name
        names = [name, *(f"{name}-{number}" for number in range(2, 1000))]
        free = next(runs / one for one in names if not (runs / one / PLAN).exists())
        self.run_path.suggest(free)


class SideBySide(QWidget):
    """Two plots, one below the other where there is no room beside."""

    def __init__(self, *plots: QWidget) -> None:
        super().__init__()
        self._box = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._box.setContentsMargins(0, 0, 0, 0)
        for plot in plots:
            self._box.addWidget(plot, 1)

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 - Qt's name
        """Lay the plots as the width allows."""
        super().resizeEvent(event)
        wide = self.width() >= WIDE
        count = 1 if wide else self._box.count()
        self.setMaximumHeight(TALLEST * count + self._box.spacing() * (count - 1))
        across, down = (
            QBoxLayout.Direction.LeftToRight,
            QBoxLayout.Direction.TopToBottom,
        )
        self._box.setDirection(across if wide else down)


class Messages(QLabel):
    """Notes and warnings of a run; not there while there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.hide()

    def show_messages(self, said: Mapping[str, str]) -> None:
        """Show sentences by kind, warnings first; a tip holds those without room."""
        first = [text for text, kind in said.items() if kind == "warning"]
        then = [text for text, kind in said.items() if kind != "warning"]
        lines = [
            f"<p style='margin: 2px'><b>⚠ {escape(text)}</b></p>" for text in first
        ]
        lines += [f"<p style='margin: 2px'>{escape(text)}</p>" for text in then[:MOST]]
        if len(then) > MOST:
            more = len(then) - MOST
            lines.append(f"<p style='margin: 2px'>and {more} more: point here.</p>")
        self.setText("".join(lines))
        self.setToolTip("\n".join(then) if len(then) > MOST else "")
        self.setVisible(bool(said))
