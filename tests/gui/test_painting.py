"""What was painted on a case in the real window is never lost without a word."""

import pytest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QMessageBox

from napari_harm3.cohort.case import TITLES
from napari_harm3.plugin.session import Leaving
from napari_harm3.plugin.widgets import painting
from window_steps import LONG, press

pytestmark = pytest.mark.gui


@pytest.fixture
def case_open(qtbot, hung, tmp_path):
    """Return the workspace; nothing of the shared cohort's work is written into."""
    hung.session._work = tmp_path / "work"
    again(qtbot, hung)
    return hung


@pytest.fixture
def unwritable(case_open, tmp_path):
    (tmp_path / "work").mkdir(exist_ok=True)
    (tmp_path / "work" / "annotations").write_text("no folder")


def again(qtbot, workspace):
    with qtbot.waitSignal(workspace.session.case_drawn, timeout=LONG):
        workspace.session.open_case(workspace.session.case.case_id)


def annotation(viewer):
    return viewer.layers[f"{TITLES['t1_post']}, annotation"]


def paint(viewer, *, aside=0):
    """Paint with a label that nothing of the made-up cohort has; return how much."""
    layer = annotation(viewer)
    layer.brush_size = 20
    layer.paint([size // 2 + aside * (size > 60) for size in layer.data.shape], 3)
    return painted(viewer)


def painted(viewer):
    return (annotation(viewer).data == 3).sum()


def answer(button):
    def pressed():
        box = QApplication.activeModalWidget()
        said.append(box.text())
        box.button(getattr(QMessageBox.StandardButton, button)).click()

    said = []
    QTimer.singleShot(300, pressed)
    return said


def test_it_is_there_when_the_case_is_opened_again(qtbot, case_open, viewer):
    count, cases = paint(viewer), case_open.cases
    assert not cases.painting.isVisible()

    for button in (cases.next_button, cases.previous_button):
        with qtbot.waitSignal(case_open.session.case_drawn, timeout=LONG):
            press(qtbot, button)
        assert cases.painting.isVisible() == (button is cases.previous_button)

    # An oblique volume is painted on a finer grid than its file has.
    assert painted(viewer) == pytest.approx(count, rel=0.1)
    assert TITLES["t1_post"] in cases.painting.text.text()


def test_it_is_kept_when_another_cohort_is_opened(
    qtbot, case_open, viewer, prepared_cohort, tmp_path
):
    table = tmp_path / "cohort.csv"
    table.write_text("case_id,pcr\nA,1\n")
    name = case_open.session.case.case_id
    paint(viewer)

    case_open.cases.open_cohort(table)
    assert not case_open.cases.painting.isVisible()
    case_open.session.open_cohort(prepared_cohort, work=tmp_path / "work")
    with qtbot.waitSignal(case_open.session.case_drawn, timeout=LONG):
        case_open.session.open_case(name)

    assert painted(viewer) > 0


def test_it_is_kept_when_the_window_is_closed(case_open, viewer, tmp_path):
    paint(viewer)

    viewer.close()

    assert [path.name for path in (tmp_path / "work").rglob("*.nii.gz")] == [
        "painted_t1_post.nii.gz"
    ]


def test_it_is_discarded_when_agreed(qtbot, case_open, viewer):
    paint(viewer)
    again(qtbot, case_open)

    said = answer("No")
    press(qtbot, case_open.cases.painting.discard_button)
    assert case_open.session.case.case_id in said[0]
    assert painted(viewer) > 0

    answer("Yes")
    with qtbot.waitSignal(case_open.session.case_drawn, timeout=LONG):
        press(qtbot, case_open.cases.painting.discard_button)
    assert painted(viewer) == 0
    assert not case_open.cases.painting.isVisible()


@pytest.mark.usefixtures("unwritable")
def test_the_case_stays_where_it_cannot_be_kept(qtbot, case_open, viewer, tmp_path):
    count, session = paint(viewer), case_open.session
    case = session.case

    said = answer("Cancel")
    press(qtbot, case_open.cases.next_button)
    assert f"What was painted on {case.case_id} is lost if you go on." in said[0]
    assert str(tmp_path) not in said[0]
    assert session.case is case
    assert painted(viewer) == count

    answer("Cancel")
    viewer.window._qt_window.close()
    assert viewer.window._qt_window.isVisible()

    answer("Discard")
    with qtbot.waitSignal(session.case_drawn, timeout=LONG):
        press(qtbot, case_open.cases.next_button)
    assert session.case is not case


def refuse(leaving):
    leaving.allowed = False


def drafts(folder):
    return [path.name for path in folder.rglob("*.nii.gz")]


def test_where_another_panel_stays_nothing_is_discarded(
    qtbot, case_open, viewer, tmp_path
):
    count, session = paint(viewer), case_open.session
    again(qtbot, case_open)
    session.leaving.connect(refuse)

    answer("Yes")
    press(qtbot, case_open.cases.painting.discard_button)
    assert case_open.cases.painting.isVisible()
    assert drafts(tmp_path / "work") == ["painted_t1_post.nii.gz"]
    session.leaving.disconnect(refuse)

    paint(viewer, aside=20)
    for by in (1, -1):
        with qtbot.waitSignal(session.case_drawn, timeout=LONG):
            session.step(by)
    assert painted(viewer) > 1.1 * count


def test_a_panel_is_asked_once_before_what_was_painted_is_discarded(
    qtbot, case_open, viewer
):
    paint(viewer)
    again(qtbot, case_open)
    asked = []
    case_open.session.leaving.connect(asked.append)

    answer("Yes")
    with qtbot.waitSignal(case_open.session.case_drawn, timeout=LONG):
        press(qtbot, case_open.cases.painting.discard_button)

    assert len(asked) == 1
    assert painted(viewer) == 0


@pytest.mark.usefixtures("unwritable")
def test_a_panel_that_said_no_is_not_overruled_by_another(
    case_open, viewer, monkeypatch
):
    paint(viewer)
    case_open.review.comment.setPlainText("jaw")
    monkeypatch.setattr(case_open.review, "save", lambda **_: False)
    monkeypatch.setattr(QMessageBox, "warning", lambda *_: QMessageBox.Discard)
    leaving = Leaving()
    refuse(leaving)

    for panel in (case_open.cases.painting, case_open.review):
        panel._leave(leaving)
        assert not leaving.allowed


def test_a_draft_that_cannot_be_deleted_is_told_and_nothing_is_lost(
    qtbot, case_open, viewer, tmp_path, monkeypatch
):
    def locked(*_):
        raise PermissionError(13, "Permission denied")

    paint(viewer)
    again(qtbot, case_open)
    count, told = painted(viewer), []
    monkeypatch.setattr("pathlib.Path.unlink", locked)
    monkeypatch.setattr("pathlib.Path.rename", locked)
    monkeypatch.setattr(painting, "show_error", told.append)

    answer("Yes")
    press(qtbot, case_open.cases.painting.discard_button)

    (said,) = told
    assert "Permission denied" in said
    assert str(tmp_path) not in said
    assert drafts(tmp_path / "work") == ["painted_t1_post.nii.gz"]
    assert painted(viewer) == count
    assert case_open.cases.painting.isVisible()
