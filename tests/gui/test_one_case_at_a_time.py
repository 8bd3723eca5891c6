"""What was found of one case is never seen on another."""

import json
import sys

import pytest
from napari.utils.notifications import notification_manager

from link_folders import write_folder
from napari_harm3.cohort.table import read_cohort
from napari_harm3.plugin import view
from napari_harm3.plugin.session import Session
from napari_harm3.worker.messages import Answer
from window_steps import LONG, press

pytestmark = pytest.mark.gui


def heat_is_seen(viewer):
    return any(one.visible for one in viewer.layers if one.name.endswith("heat"))


def load(qtbot, hung, folder):
    with qtbot.waitSignal(hung.explain.drawn, timeout=LONG):
        hung.explain.load(folder)


def test_an_explanation_from_the_command_line_is_not_seen_on_the_next_case(
    qtbot, viewer, prepared_cohort, tmp_path, monkeypatch
):
    first = read_cohort(prepared_cohort).case("HN-0001")
    folder = write_folder(tmp_path / "explanation", first)
    words = ["view", str(prepared_cohort), "--explanation", str(folder)]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(view.napari, "Viewer", lambda **_: viewer)
    session = Session.of(viewer)

    def look():
        cases, explain = (
            viewer.window.add_plugin_dock_widget("napari-harm3", f"HARM3 {name}")[1]
            for name in ("Cases", "Explain")
        )
        with qtbot.waitSignal(explain.drawn, timeout=LONG):
            pass
        assert heat_is_seen(viewer)
        told = len(notification_manager.records)
        with qtbot.waitSignal(session.case_drawn, timeout=LONG):
            press(qtbot, cases.next_button)
        assert session.case.case_id == "HN-0002"
        assert session.explanation is None
        assert explain.probability.text() == "not computed"
        assert not heat_is_seen(viewer)
        assert len(notification_manager.records) == told

    monkeypatch.setattr(view.napari, "run", look)
    assert view.main() == 0


def test_an_explanation_of_another_case_is_refused_before_anything_hangs(
    prepared_cohort, tmp_path, monkeypatch, capsys
):
    other = read_cohort(prepared_cohort).case("HN-0002")
    folder = write_folder(tmp_path / "other", other)
    picture = tmp_path / "picture.png"
    words = ["view", prepared_cohort, "--explanation", folder, "--screenshot", picture]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    monkeypatch.setattr(view.napari, "Viewer", lambda **_: pytest.fail("a window"))

    assert view.main() == 1

    assert capsys.readouterr().err == (
        "harm3: other explains HN-0002: open that case first.\n"
    )
    assert not picture.exists()


def test_a_picture_that_was_not_taken_is_told(
    viewer, prepared_cohort, tmp_path, monkeypatch, capsys
):
    picture = tmp_path / "picture.png"
    words = ["view", str(prepared_cohort), "--screenshot", str(picture)]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(view.napari, "Viewer", lambda **_: viewer)
    monkeypatch.setattr(view.napari, "run", lambda: None)  # closed at once

    assert view.main() == 1

    assert capsys.readouterr().err.startswith("harm3: no picture was taken: ")


def test_an_explanation_of_another_case_is_refused_in_a_sentence(
    hung, prepared_cohort, tmp_path
):
    other = read_cohort(prepared_cohort).case("HN-0001")

    hung.explain.load(write_folder(tmp_path / "other", other))

    assert hung.session.explanation is None
    said = notification_manager.records[-1].message
    assert said == "other explains HN-0001: open that case first."


def test_what_is_no_explanation_is_refused_in_a_sentence(hung, tmp_path):
    for name in ("explanation.json", "agreement.json"):
        (tmp_path / name).write_text("[]")

    hung.explain.load(tmp_path)

    assert hung.session.explanation is None
    said = notification_manager.records[-1].message
    assert said == f"{tmp_path.name} is no finished explanation: compute it again."


def test_another_cohort_takes_everything_down(qtbot, hung, viewer, tmp_path):
    explain, review, slide = hung.explain, hung.review, hung.slide
    hung.session._work = tmp_path / "work"
    hung.session.open_case(hung.session.case.case_id)
    load(qtbot, hung, write_folder(tmp_path / "explanation", hung.session.case))
    press(qtbot, review.verdict.buttons["agree"])
    review.comment.setPlainText("looks at the jaw")
    assert review.save_button.isEnabled()
    table = tmp_path / "cohort.csv"
    table.write_text("case_id,pcr\nA,1\n")

    hung.cases.open_cohort(table)

    assert len(viewer.layers) == 0
    assert hung.session.slide_view().slide is None
    assert slide.slides.count() == 0
    assert "Open a case" in slide.counts.text()
    assert explain.probability.text() == "not computed"
    assert explain.origin.text() == ""
    assert explain.figures.table.rowCount() == 0
    assert not explain.compute_button.isEnabled()
    assert review.case_label.text() == "-"
    assert review.prediction.text() == "not in sight yet"
    assert review.verdict.value is None
    assert review.comment.toPlainText() == ""
    assert not review.save_button.isEnabled()


def test_a_slide_that_was_opened_alone_stays(workspace, prepared_cohort):
    folder = prepared_cohort.parent / "HN-0001"
    workspace.slide.open(folder / "biopsy.tif")

    workspace.cases.open_cohort(prepared_cohort)

    assert workspace.session.slide_view().slide.name == "biopsy.tif"


@pytest.mark.parametrize("content", ['{"features": [', "{}", '{"features": [7]}'])
def test_a_damaged_attention_is_told_and_the_maps_are_shown(
    qtbot, hung, viewer, tmp_path, content
):
    folder = write_folder(tmp_path / "explanation", hung.session.case)
    (folder / "slide_attention.geojson").write_text(content)

    load(qtbot, hung, folder)

    said = notification_manager.records[-1].message
    assert said == "slide_attention.geojson is damaged: explain the case again."
    assert heat_is_seen(viewer)
    assert len(hung.session.slide_view().attention.data) == 0


@pytest.mark.parametrize("made_up", [True, False])
def test_what_a_model_was_trained_on_is_said_once(qtbot, hung, tmp_path, made_up):
    folder = write_folder(tmp_path / "explanation", hung.session.case)
    about = json.loads((folder / "explanation.json").read_text())
    about |= {"made_up": made_up, "trained_on": "phantom" if made_up else "Clinic"}
    (folder / "explanation.json").write_text(json.dumps(about))

    load(qtbot, hung, folder)

    explain = hung.explain
    assert (explain.origin.text() != "") == made_up
    assert explain.status.text().startswith("Trained on Clinic. ") != made_up
    assert "One cell of the map is 30 x 40 x 50 mm." in explain.status.text()
    assert f"{explain.origin.text()} {explain.status.text()}".count("Trained on") == 1


def test_a_review_that_cannot_be_saved_is_told_by_name_alone(qtbot, hung, tmp_path):
    session, case = hung.session, hung.session.case
    session._work = tmp_path
    session.case_changed.emit(case)  # of which nothing is kept there
    (tmp_path / "reviews").write_text("no folder")
    press(qtbot, hung.review.reading.buttons["pcr"])

    press(qtbot, hung.review.save_button)

    said = notification_manager.records[-1].message
    assert f"{tmp_path.name}/reviews: " in said
    assert str(tmp_path) not in said
    assert session.case is case  # what was said still stands in the panel
    assert hung.review.reading.value == "pcr"
    (tmp_path / "reviews").unlink()  # else it is asked whether to close the window


class Asked:
    """A worker that waits, and what was asked of it."""

    def __init__(self):
        self.listeners = []

    def ask(self, kind, params, listener):
        self.listeners.append(listener)
        return len(self.listeners)

    def cancel(self, number):
        pass

    def close(self):
        pass

    end = close


def test_what_a_job_says_late_is_said_of_its_own_case_alone(qtbot, hung, tmp_path):
    explain, session = hung.explain, hung.session
    session.close()
    session._client = worker = Asked()
    qtbot.keyClicks(explain.model_path.line, str(tmp_path))
    press(qtbot, explain.compute_button)  # typed is enough
    with qtbot.waitSignal(session.case_drawn, timeout=LONG):
        session.step(1)
    (late,) = worker.listeners
    late.progress(Answer(id=1, kind="progress", warning=True, text="made up"))
    late.failed("")
    assert explain.status.text() == "HN-0003: press Compute."
    assert explain.origin.text() == ""
    assert explain.compute_button.isEnabled()

    press(qtbot, explain.compute_button)
    now = worker.listeners[1]
    now.progress(Answer(id=2, kind="progress", warning=True, text="made up"))
    assert explain.origin.text() == "made up"
    now.failed("a.md is no model.")
    assert explain.status.text() == "a.md is no model."
    assert explain.origin.text() == ""
    explain.model_path.line.clear()
    assert not explain.compute_button.isEnabled()


def test_a_job_that_fails_says_whose_maps_are_still_on_show(qtbot, hung, tmp_path):
    load(qtbot, hung, write_folder(tmp_path / "explanation", hung.session.case))
    explain = hung.explain
    origin = explain.origin.text()
    hung.session.close()
    hung.session._client = worker = Asked()
    explain.model_path.set_path(tmp_path)
    explain.compute()

    worker.listeners[0].failed("a.md is no model.")

    said = "a.md is no model. What is on show was computed before."
    assert explain.status.text() == said
    assert explain.origin.text() == origin != ""
