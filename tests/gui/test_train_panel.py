"""The Train panel in the real window, with runs that really train."""

import json
import os
import signal
from dataclasses import replace

import pytest
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QDockWidget, QMainWindow, QPushButton, QVBoxLayout, QWidget

from napari_harm3.jobs.progress import result_of
from napari_harm3.jobs.reproduction import Reproduction, configs_of, reproduce
from napari_harm3.plugin.widgets.method_box import MethodBox
from napari_harm3.plugin.widgets.parts import Scrolled
from napari_harm3.plugin.widgets.train_run import RunPanel
from napari_harm3.plugin.widgets.train_tables import TablesPanel
from napari_harm3.training.config import RunConfig
from window_steps import LONG, picture, press, to_front

pytestmark = pytest.mark.gui
METHODS = ("abmil", "harm3")


@pytest.fixture
def train(qtbot, workspace, balanced):
    workspace.cases.open_cohort(balanced)
    qtbot.wait(100)  # the docks are arranged once the window is laid out
    to_front(workspace.train)
    return workspace.train


def ask(panel, folder, *, method="concat-mlp", epochs=24):
    """Fill in the form as for a run of seconds."""
    panel.method.choose(method)
    panel.form.fields["size"].value = "small"
    panel.form.fields["folds"].value = 2
    panel.form.fields["training.epochs"].value = epochs
    panel.device.setCurrentText("cpu")
    panel.run_path.set_path(folder)


def wait_for(qtbot, panel, *statuses):
    qtbot.waitUntil(lambda: panel.controls.status in statuses, timeout=LONG)


def wait_for_epochs(qtbot, panel):
    qtbot.waitUntil(lambda: bool(panel.loss.lines), timeout=LONG)


@pytest.fixture(scope="module")
def table(balanced, tmp_path_factory):
    """Return the folder of a small finished table."""
    base = replace(RunConfig.of("harm3", "small"), folds=2)
    recipes = configs_of(
        "table1", base, beyond=False, methods=METHODS, budget="matched"
    )
    configs = {
        name: replace(one, training=replace(one.training, epochs=1))
        for name, one in recipes.items()
    }
    out = tmp_path_factory.mktemp("tables") / "table1"
    asked = Reproduction(cohort=balanced, out=out, configs=configs, device="cpu")
    result_of(reproduce("table1", asked))
    return out


def test_a_run_is_paused_stopped_and_resumed_to_its_end(qtbot, train, viewer, tmp_path):
    panel, controls, run = train.one, train.one.controls, tmp_path / "run"
    ask(panel, run)

    press(qtbot, controls.start_button)
    assert controls.status == "starting"
    assert not controls.stop_button.isEnabled()
    wait_for_epochs(qtbot, panel)
    press(qtbot, controls.pause_button)
    wait_for(qtbot, panel, "paused")
    done = controls.state.done
    picture(viewer, tmp_path, "training")
    qtbot.wait(600)
    assert controls.state.done == done
    assert "press Continue" in controls.phase.text()

    press(qtbot, controls.pause_button)
    qtbot.waitUntil(lambda: controls.state.done > done, timeout=LONG)
    press(qtbot, controls.stop_button)
    wait_for(qtbot, panel, "stopped")
    assert not (run / "metrics.json").exists()
    assert not controls.stop_button.isEnabled()

    press(qtbot, controls.resume_button)
    wait_for(qtbot, panel, "done")

    assert set(panel.loss.lines) == {0, 1}
    assert set(panel.auc.marks) == {0, 1}
    assert controls.phase.text().startswith("Finished: AUC")
    assert controls.progress.value() == controls.progress.maximum()
    assert json.loads((run / "metrics.json").read_text())["n"] == 10
    assert "nothing is chosen by it" in panel.said.text()

    press(qtbot, controls.start_button)
    assert "choose another" in controls.phase.text()
    assert (run / "metrics.json").exists()


def test_a_panel_that_comes_later_finds_the_run_and_hears_that_it_died(
    qtbot, train, tmp_path
):
    ask(train.one, tmp_path / "run", method="abmil", epochs=5000)
    press(qtbot, train.one.controls.start_button)
    wait_for_epochs(qtbot, train.one)

    later = RunPanel(train.one.session)
    qtbot.addWidget(later)
    later.run_path.line.setText(str(tmp_path / "run"))
    qtbot.keyClick(later.run_path.line, Qt.Key.Key_Return)

    assert later.controls.status == "training"
    assert later.method.method.name == "abmil"
    assert later.form.fields["training.epochs"].value == 5000
    assert "epoch" in later.controls.phase.text()
    os.kill(later.controls.state.pid, signal.SIGKILL)
    wait_for(qtbot, train.one, "silent")
    assert "ended without a word; press Resume" in train.one.controls.phase.text()
    assert train.one.controls.resume_button.isEnabled()


def test_what_the_process_refuses_is_told(qtbot, train, tmp_path):
    ask(train.one, tmp_path / "run")
    train.one.device.setCurrentText("cuda:77")

    press(qtbot, train.one.controls.start_button)
    wait_for(qtbot, train.one, "silent", "failed")

    assert "cuda:77" in train.one.controls.phase.text()
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_methods_stand_in_the_groups_of_the_tables(qtbot):
    box = MethodBox()
    qtbot.addWidget(box)
    titles = [box.itemText(row) for row in range(box.count())]
    tips = [
        box.itemData(row, Qt.ItemDataRole.ToolTipRole) for row in range(len(titles))
    ]

    assert box.method.name == "harm3"
    assert titles[0] == "Table 1"
    assert titles.index("Table 2, what is left out") < titles.index("LD-VAE only")
    assert titles.index("LD-VAE only") < titles.index("Beyond the paper")
    tip = tips[titles.index("CLAM-SB")]
    assert "Lu et al." in tip
    assert "Sees slide" in tip
    assert not box.model().item(0).isEnabled()
    box.choose("nobody")
    assert box.method.name == "harm3"


def test_the_panel_says_what_to_do_first(workspace, balanced):
    panels = workspace.train.one, workspace.train.tables
    for panel in panels:
        assert panel.controls.phase.text().startswith("Choose a cohort")

    workspace.cases.open_cohort(balanced)

    for panel in panels:
        assert panel.controls.phase.text() == "Ready: press Start."


def test_epochs_follow_the_recipe_and_a_free_folder_is_named(qtbot, train):
    panel = train.one
    assert panel.form.fields["training.epochs"].value == 24
    panel.form.fields["size"].value = "full"
    assert panel.form.fields["training.epochs"].value == 200
    panel.form.fields["size"].value = "small"
    panel.method.choose("harm3-paper")
    assert panel.form.fields["training.epochs"].value == 200
    runs = train.one.session.work / "runs"
    assert panel.run_path.path == runs / "harm3-paper"


def test_the_point_below_the_mouse_is_named(qtbot, train):
    curve = train.one.loss
    curve.draw({0: {1: 0.9, 2: 0.5}, 1: {1: 0.8, 2: 0.7}}, epochs=2)
    place = curve._scale().place(2, 0.7)

    curve.hovered = curve._nearest(place + QPointF(3, -2))

    assert curve.hovered == (1, 2, 0.7)
    assert curve._nearest(QPointF(-500, -500)) is None
    curve.grab()


def test_a_finished_table_stands_beside_what_the_paper_prints(
    qtbot, train, viewer, table, tmp_path, monkeypatch
):
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    train.tabs.setCurrentIndex(1)
    panel = train.tables

    panel.out.set_path(table)
    panel.follow(table)

    result = panel.outcome
    assert result.isVisible()
    assert "made-up cohort" in result.warning.text()
    assert result.table.rowCount() == 2
    rows = {result.table.item(row, 0).text(): row for row in range(2)}
    best = result.table.item(0, 1)
    metrics = json.loads((table / "abmil" / "metrics.json").read_text())
    assert f"{metrics['auc']['mean']:.3f}" == result.table.item(rows["ABMIL"], 1).text()
    assert "<b>" in best.data(Qt.ItemDataRole.UserRole)
    ours = result.table.item(rows["HARM3-Fusion"], 1)
    assert "The paper prints 0.7581" in ours.toolTip()
    assert "DeLong p" in result.table.item(rows["ABMIL"], 1).toolTip()
    assert "McNemar" in result.table.item(rows["ABMIL"], 4).toolTip()
    assert panel.form.fields["folds"].value == 2
    assert panel.epochs.value() == 1
    press(qtbot, result.report_button)
    assert opened[0].toLocalFile() == str(table / "table1.html")
    qtbot.wait(200)
    picture(viewer, tmp_path, "table")


def test_a_table_is_begun_and_stopped_fold_by_fold(qtbot, train, tmp_path):
    train.tabs.setCurrentIndex(1)
    panel: TablesPanel = train.tables
    panel.table.setCurrentIndex(1)
    panel.form.fields["folds"].value = 2
    panel.epochs.setValue(200)
    panel.device.setCurrentText("cpu")
    panel.out.set_path(tmp_path / "table2")

    press(qtbot, panel.controls.start_button)
    qtbot.waitUntil(
        lambda: any(c.kind == "running" for r in panel.grid.rows for c in r.cells),
        timeout=LONG,
    )
    assert [len(row.cells) for row in panel.grid.rows] == [2] * 5
    assert panel.grid.rows[-1].title == "HARM3-Fusion"
    assert panel.controls.phase.text().startswith("without LD-VAE, fold 0")
    box = panel.grid._box(0, 0).center()
    assert "without LD-VAE, fold 0" in panel.grid.cell_at(box).tip
    press(qtbot, panel.controls.stop_button)
    wait_for(qtbot, panel, "stopped")

    assert panel.grid.rows[0].cells[0].kind in ("halted", "waiting")
    assert panel.grid.rows[1].cells[0].kind == "waiting"
    assert panel.controls.resume_button.isEnabled()
    words = panel.arguments(panel.session.cohort.path, resume=True)
    assert words[words.index("--methods") + 1] == "harm3-no-ld-vae"
    assert not panel.outcome.isVisible()


def noted(folder, *events):
    """Write events as a process does, all at once."""
    folder.mkdir(parents=True)
    lines = [{"time": "2026-01-01T00:00:00+00:00", **event} for event in events]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "events.jsonl").write_text(text)


def step(fold):
    return {"kind": "step", "fold": fold, "step": 1, "steps": 9, "loss": 0.5}


@pytest.mark.parametrize("named", [True, False])
def test_the_fold_that_failed_is_marked_if_its_run_names_it(workspace, tmp_path, named):
    begun = {"kind": "begun", "pid": os.getpid()}
    failed = {"kind": "failed", "text": "The loss is no number."}
    noted(tmp_path / "t", {**begun, "table": "table1", "methods": METHODS}, failed)
    last = failed | ({"fold": 1} if named else {})
    noted(tmp_path / "t" / "abmil", begun, step(0), step(1), last)
    noted(tmp_path / "t" / "harm3", begun, step(0), {"kind": "fold", "fold": 0})

    tables = workspace.train.tables
    tables.follow(tmp_path / "t")

    cells = [[cell.kind for cell in row.cells] for row in tables.grid.rows]
    assert cells[0] == (["halted", "failed"] if named else ["failed", "failed"])
    assert cells[1][0] == "done"


def test_a_dock_makes_room_for_whatever_comes_into_a_panel(qtbot):
    window, dock, content = QMainWindow(), QDockWidget(), QWidget()
    qtbot.addWidget(window)
    column = QVBoxLayout(content)
    dock.setWidget(Scrolled(content))
    window.setCentralWidget(QWidget())
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    window.resize(700, 300)
    window.show()
    qtbot.waitExposed(window)

    button = QPushButton("what is wider than the dock was at first, by far")
    column.addWidget(button)

    visible = dock.widget().viewport()
    qtbot.waitUntil(lambda: visible.width() >= button.minimumSizeHint().width())
    assert content.width() <= visible.width()


def test_without_a_cohort_nothing_can_be_started(workspace, prepared_cohort):
    buttons = [
        panel.controls.start_button
        for panel in (workspace.train.one, workspace.train.tables)
    ]
    assert not any(button.isEnabled() for button in buttons)

    workspace.session.open_cohort(prepared_cohort)

    assert all(button.isEnabled() for button in buttons)
