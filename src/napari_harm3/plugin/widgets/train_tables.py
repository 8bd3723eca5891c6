"""Part of the Train panel: the paper's two tables, on the cohort at hand."""

from pathlib import Path

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_harm3.jobs.models import methods
from napari_harm3.plugin.forms import ConfigForm, FieldGrid
from napari_harm3.plugin.run_process import Status
from napari_harm3.plugin.run_state import Event, FoldState, RunState
from napari_harm3.plugin.session import Session
from napari_harm3.plugin.table_state import TableState
from napari_harm3.plugin.widgets.fold_grid import Cell, FoldGrid, Kind, Row
from napari_harm3.plugin.widgets.parts import PathField, choice
from napari_harm3.plugin.widgets.run_controls import ILL, RunControls, epoch_words
from napari_harm3.plugin.widgets.table_result import TableResult
from napari_harm3.plugin.widgets.train_parts import (
    CHOOSE,
    FIELDS,
    START,
    at_once_box,
    command,
    device_box,
)
from napari_harm3.training.config import RunConfig

TABLES = {
    "table1": "Table 1: HARM3-Fusion and its rivals",
    "table2": "Table 2: what each part is worth",
}
NATIVE = ("optimizer", "learning_rate", "weight_decay")
"""In these the authors' recipes differ from the one that is the same for all."""


class TablesPanel(QWidget):
    """Train every method of a table, see how far each is, read the table."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._shown: float | None = None
        self.known = {method.name: method for method in methods()}
        grid = FieldGrid(2)
        self.table = QComboBox()
        for name, title in TABLES.items():
            self.table.addItem(title, name)
        self.table.setToolTip("The table of the paper whose methods are trained")
        self.beyond = QCheckBox("with the rows that the paper does not have")
        self.beyond.setToolTip("Methods and ablations that the table does not name")
        grid.add("Table", self.table, wide=True)
        grid.add("", self.beyond, wide=True)
        self.form = ConfigForm(START, FIELDS, grid=grid)
        self.epochs, self.budget = _epochs_box(), choice(("matched", "native"))
        self.budget.setToolTip(
            "matched: all are trained alike. native: each as its authors did."
        )
        self.device, self.at_once = device_box(), at_once_box()
        self.out = PathField("Folder of the table", folder=True, chosen=self.follow)
        grid.add("Epochs", self.epochs)
        grid.add("Device", self.device)
        grid.add("At once", self.at_once)
        grid.add("Budget", self.budget)
        grid.add("Folder", self.out, wide=True)
        self.controls = RunControls(self._words, self.start)
        self.grid, self.outcome = FoldGrid(), TableResult()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        for widget in (self.form, self.controls, self.grid):
            layout.addWidget(widget)
        layout.addWidget(self.outcome)
        layout.addStretch(1)
        self.controls.changed.connect(self._draw)
        self.table.currentIndexChanged.connect(self._suggest)
        session.cohort_changed.connect(self._suggest)
        self._suggest()

    @property
    def state(self) -> TableState | None:
        """What the folder says, if there is one."""
        state = self.controls.state
        return state if isinstance(state, TableState) else None

    def start(self, resume: bool) -> None:
        """Begin the table in a process of its own, or go on with it."""
        cohort, out = self.session.cohort, self.out.path
        if cohort is None or out is None:
            self.controls.say(CHOOSE, ill=True)
            return
        told = self.arguments(cohort.path, resume=resume)
        self.controls.begin(TableState(out), told)

    def arguments(self, cohort: Path, *, resume: bool) -> list[str]:
        """Return what ``harm3`` is told."""
        begun = self.state.about if resume and self.state is not None else {}
        options: dict[str, object] = {
            "--out": self.out.path,
            "--work": self.session.work,
            "--device": self.device.currentText().strip() or "auto",
            "--jobs": self.at_once.value(),
            "--budget": self.budget.currentText(),
            **{f"--{name}": field.value for name, field in self.form.fields.items()},
            "--epochs": self.epochs.value() or None,
            # Those it was begun with, whatever the form says now.
            "--methods": begun.get("methods"),
        }
        switches = {
            "--beyond": self.beyond.isChecked() and not begun,
            "--allow-external": self.session.allow_external,
        }
        table = begun.get("table", self.table.currentData())
        return command("reproduce", table, cohort, options=options, switches=switches)

    def follow(self, out: Path) -> None:
        """Show the table in a folder, whether it is being made or finished."""
        self.controls.follow(self.controls.process_in(TableState(out)))
        state = self.state
        if state is None or not state.table:
            return
        self.table.setCurrentIndex(self.table.findData(state.table))
        groups = {self.known[name].group for name in state.runs if name in self.known}
        self.beyond.setChecked("beyond" in groups)
        plans = [run.plan for run in state.runs.values() if run.plan]
        if plans:
            self._take_plans(plans)

    def _take_plans(self, plans: list[Event]) -> None:
        """Say in the form what the runs were begun with."""
        plan = next((one for one in plans if one["method"] == START.method), plans[0])
        for name, field in self.form.fields.items():
            field.value = plan[name]
        same = RunConfig.of(START.method, plan["size"]).training
        epochs = plan["training"]["epochs"]
        self.epochs.setValue(0 if epochs == same.epochs else epochs)
        native = any(
            one["training"][name] != getattr(same, name)
            for one in plans
            for name in NATIVE
        )
        self.budget.setCurrentText("native" if native else "matched")

    def _words(self, status: Status) -> str:
        state = self.state
        if state is None:
            return ""
        if status == "done":
            return f"Finished: {len(state.runs)} methods under the same folds."
        running = {name: run for name, run in state.runs.items() if run.running}
        if len(running) == 1:
            name, run = next(iter(running.items()))
            words = epoch_words(run)
            return f"{self._title(name)}, {words[:1].lower()}{words[1:]}"
        titles = ", ".join(self._title(name) for name in running)
        if state.done == state.count:
            return "All folds are finished; making statistics and figures ..."
        return f"{titles} side by side." if titles else "Starting the next fold ..."

    def _title(self, name: str) -> str:
        return self.known[name].title if name in self.known else name

    def _draw(self) -> None:
        state = self.state
        if state is None:
            return
        self.grid.draw([self._row(name, run) for name, run in state.runs.items()])
        path = state.folder / f"{state.table}.json"
        written = path.stat().st_mtime if path.exists() else None
        wanted = written if self.controls.status == "done" else None
        if wanted != self._shown:
            self._shown = wanted
            result = None if wanted is None else state.result()
            self.outcome.hide()
            self.grid.setVisible(result is None)
            if result is not None and "reference" in result:
                self.outcome.show_result(result, path.with_suffix(".html"))

    def _row(self, name: str, run: RunState) -> Row:
        state = self.state
        assert state is not None
        most = max(one.count for one in state.runs.values())
        cells = tuple(self._cell(name, run, fold) for fold in range(run.count or most))
        auc = None if run.metrics is None else run.metrics["auc"]["mean"]
        return Row(
            title=self._title(name),
            cells=cells,
            result="" if auc is None else f"AUC {auc:.2f}",
        )

    def _cell(self, name: str, run: RunState, fold: int) -> Cell:
        found = run.folds.get(fold, FoldState())
        tip = f"{self._title(name)}, fold {fold}: {found.words}"
        return Cell(kind=self._kind(run, found), share=found.share, tip=tip)

    def _kind(self, run: RunState, fold: FoldState) -> Kind:
        if fold.finished:
            return "done"
        if fold.failed:
            return "failed"
        ended = run.ended or self.controls.status
        if fold.active and ended in ILL:
            # Where the run does not name it, it may be any of those at work.
            named = any(one.failed for one in run.folds.values())
            return "halted" if named else "failed"
        if fold.active and ended not in ("stopped", "done"):
            return "running"
        return "halted" if fold.epoch else "waiting"

    def _suggest(self, *_: object) -> None:
        """Name a folder, unless the user named one."""
        self.controls.invite(ready=self.session.cohort is not None)
        if self.session.cohort is not None:
            self.out.suggest(self.session.work / str(self.table.currentData()))


def _epochs_box() -> QSpinBox:
    box = QSpinBox()
    box.setRange(0, 10_000)
    box.setSpecialValueText("by recipe")
    box.setToolTip("Passes over the training cases, for every method")
    return box
