"""The Review panel: own reading, then the prediction, case after case."""

import json

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox

from link_folders import write_folder
from napari_harm3.plugin.widgets import review as panel
from window_steps import LONG, picture, press, to_front

pytestmark = pytest.mark.gui

SHIFT, ALT, CONTROL = (
    getattr(Qt.KeyboardModifier, f"{name}Modifier")
    for name in ("Shift", "Alt", "Control")
)


@pytest.fixture
def study(qtbot, workspace, prepared_cohort, tmp_path):
    """Return the workspace with the second case hanging, and no review yet."""
    session = workspace.session
    session.open_cohort(prepared_cohort, work=tmp_path / "work")
    with qtbot.waitSignal(session.case_drawn, timeout=LONG):
        session.open_case("HN-0002")
    return workspace


@pytest.fixture
def key(qtbot, viewer):
    canvas = viewer.window._qt_viewer.canvas.native
    return lambda name, modifier: qtbot.keyClick(
        canvas, getattr(Qt.Key, f"Key_{name}"), modifier
    )


def kept(study, case_id):
    path = study.session.work / "reviews" / f"{case_id}.json"
    return json.loads(path.read_text())["reviews"] if path.exists() else []


def column(study, title):
    table = study.cases.list.table
    number = next(
        at
        for at in range(table.columnCount())
        if table.horizontalHeaderItem(at).text() == title
    )
    return [table.item(row, number).text() for row in range(table.rowCount())]


def explain(qtbot, study, tmp_path):
    case = study.session.case
    folder = write_folder(tmp_path / f"e-{case.case_id}", case)
    with qtbot.waitSignal(study.explain.drawn, timeout=LONG):
        study.explain.load(folder)
    return json.loads((folder / "explanation.json").read_text())["probability"]


def test_the_own_reading_is_kept_as_it_was_before_the_prediction(
    qtbot, study, viewer, tmp_path
):
    review = study.review
    assert not review.save_button.isEnabled()
    assert not review.with_prediction.isEnabled()
    press(qtbot, review.reading.buttons["pcr"])
    press(qtbot, review.confidence.buttons["2"])

    probability = explain(qtbot, study, tmp_path)

    assert review.with_prediction.isEnabled()
    assert review.prediction.text().startswith(f"{probability:.2f}")
    press(qtbot, review.reading.buttons["non-pcr"])
    press(qtbot, review.confidence.buttons["5"])
    press(qtbot, review.verdict.buttons["agree"])
    press(qtbot, review.localisation.buttons["4"])
    press(qtbot, review.flags.buttons["motion"])
    press(qtbot, review.flags.buttons["slide"])
    review.comment.setPlainText("looks at the jaw")
    to_front(review)
    qtbot.wait(500)
    picture(viewer, tmp_path, "review")
    with qtbot.waitSignal(study.session.case_drawn, timeout=LONG):
        press(qtbot, review.save_button)

    (record,) = kept(study, "HN-0002")
    assert (record["first_reading"], record["first_confidence"]) == ("pcr", 2)
    assert (record["reading"], record["confidence"]) == ("non-pcr", 5)
    assert (record["verdict"], record["localisation"]) == ("agree", 4)
    assert record["flags"] == ["motion", "slide"]
    assert (record["probability"], record["model"]) == (probability, "run-of-may")
    assert record["seconds"] > 0
    assert not record["draft"]
    assert study.session.case.case_id == "HN-0003"
    assert not review.reading.chosen
    assert review.prediction.text() == panel.UNSEEN
    assert column(study, "Read")[1] == "done ⚑"
    assert study.cases.list.progress.text().startswith("1 of ")


def test_who_saw_the_prediction_first_is_told_and_it_is_kept(
    qtbot, study, viewer, tmp_path
):
    probability = explain(qtbot, study, tmp_path)

    later = panel.ReviewWidget(viewer)
    qtbot.addWidget(later)
    for review in (study.review, later):
        assert review.status.text() == panel.UNREAD
        assert review.prediction.text().startswith(f"{probability:.2f}")
    press(qtbot, study.review.reading.buttons["pcr"])
    press(qtbot, study.review.draft_button)

    (record,) = kept(study, "HN-0002")
    assert (record["reading"], record["first_reading"]) == ("pcr", None)


def test_what_was_not_saved_is_a_draft_and_stands_there_again(qtbot, study):
    session, review = study.session, study.review
    review.comment.setPlainText("half a")
    with qtbot.waitSignal(session.case_drawn, timeout=LONG):
        session.step(1)
    assert review.comment.toPlainText() == ""
    with qtbot.waitSignal(session.case_drawn, timeout=LONG):
        session.step(-1)

    assert session.case.case_id == "HN-0002"
    assert review.comment.toPlainText() == "half a"
    assert review.status.text().startswith("Draft of ")
    assert column(study, "Read")[1] == "draft"
    review.comment.setPlainText("half a sentence")
    qtbot.waitUntil(
        lambda: kept(study, "HN-0002")[-1]["comment"] == "half a sentence",
        timeout=LONG,
    )
    assert len(kept(study, "HN-0002")) == 1
    assert kept(study, "HN-0003") == []


def test_a_review_that_cannot_be_kept_is_lost_only_if_the_reader_says_so(
    qtbot, study, monkeypatch
):
    session, review = study.session, study.review
    monkeypatch.setattr(panel, "show_error", lambda _: None)
    reviews = session.work / "reviews"
    reviews.parent.mkdir(exist_ok=True)
    reviews.write_text("no folder")
    asked, answers = [], iter(["Cancel", "Discard"])

    def warning(parent, title, text, *buttons):
        asked.append(text)
        return getattr(QMessageBox.StandardButton, next(answers))

    monkeypatch.setattr(QMessageBox, "warning", warning)
    review.comment.setPlainText("important")
    press(qtbot, review.draft_button)

    session.step(1)

    assert session.case.case_id == "HN-0002"
    assert review.comment.toPlainText() == "important"
    assert f"{reviews.parent.name}/reviews" in asked[0]
    with qtbot.waitSignal(session.case_drawn, timeout=LONG):
        session.step(1)
    assert review.comment.toPlainText() == ""


def test_a_damaged_review_is_told_at_once_and_set_aside(qtbot, study):
    session, review, cases = study.session, study.review, study.cases
    damaged = session.work / "reviews" / "HN-0003.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    session.reviewed.emit()
    with qtbot.waitSignal(session.case_drawn, timeout=LONG):
        session.step(1)

    for label in (review.status, cases.faults):
        assert "reviews/HN-0003.json is no review" in label.text()
    assert not review.reading.isEnabled()
    press(qtbot, review.aside_button)
    assert review.aside_button.isHidden()
    assert cases.faults.text() == ""
    press(qtbot, review.reading.buttons["pcr"])
    press(qtbot, review.draft_button)

    assert [one["reading"] for one in kept(study, "HN-0003")] == ["pcr"]
    assert [p.read_text() for p in damaged.parent.glob("*.damaged-*")] == ["{"]


def test_a_draft_goes_beside_the_cohort_that_it_is_of(qtbot, study, tmp_path):
    press(qtbot, study.review.reading.buttons["pcr"])
    before = study.session.work
    table = tmp_path / "other" / "cohort.csv"
    table.parent.mkdir()
    table.write_text("case_id,pcr\nHN-0002,1\n")

    study.session.open_cohort(table)

    assert (before / "reviews" / "HN-0002.json").exists()
    assert not (study.session.work / "reviews").exists()
    assert not study.review.reading.chosen


def test_only_unread_cases_are_gone_through(qtbot, study):
    session, cases = study.session, study.cases
    for _ in range(2):
        press(qtbot, study.review.reading.buttons["pcr"])
        with qtbot.waitSignal(session.case_drawn, timeout=LONG):
            press(qtbot, study.review.save_button)
    everyone = column(study, "Case")

    cases.list.wanted.setCurrentText("unread")

    left = column(study, "Case")
    assert left == [one for one in everyone if one not in {"HN-0002", "HN-0003"}]
    with qtbot.waitSignal(session.case_drawn, timeout=LONG):
        session.open_case("HN-0001")
    with qtbot.waitSignal(session.case_drawn, timeout=LONG):
        press(qtbot, cases.next_button)
    assert session.case.case_id == "HN-0004"
    cases.list.wanted.setCurrentText("flagged")
    assert column(study, "Case") == []
    cases.list.blind.setChecked(True)
    assert cases.list.table.isColumnHidden(5)


def test_a_reader_needs_no_mouse(qtbot, study, key, tmp_path):
    explain(qtbot, study, tmp_path)

    key("3", ALT)
    key("4", CONTROL)
    key("F", SHIFT)
    key("3", ALT)  # said again, not taken back
    key("4", CONTROL)
    with qtbot.waitSignal(study.session.case_drawn, timeout=LONG):
        key("Return", SHIFT)

    (record,) = kept(study, "HN-0002")
    assert record["verdict"] == "disagree"
    assert record["confidence"] == 4
    assert record["flags"] == ["look again"]
    assert study.session.case.case_id == "HN-0003"


def test_the_comment_has_the_ground_of_a_line_in_every_theme(workspace, viewer):
    comment, line = workspace.review.comment, workspace.cases.list.filter
    for theme in ("light", "dark"):
        viewer.theme = theme
        grounds = [one.palette().color(one.backgroundRole()) for one in (comment, line)]
        assert grounds[0] == grounds[1]
