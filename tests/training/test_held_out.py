"""A table of predictions that no run has written is refused in a sentence."""

import pytest

from napari_harm3.errors import ModelError
from napari_harm3.training.held_out import read_held_out

HEADER = "case_id,fold,pcr,probability,threshold\n"
SOUND = HEADER + "C1,0,1,0.7,0.5\nC2,0,0,0.2,0.5\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER,
        SOUND.removeprefix(HEADER),
        SOUND + "C3\n",
        SOUND + "C3,0\n",
        SOUND + '"C3,0,1,0.4,0.5\n',
        SOUND + "C3,0,2,0.4,0.5\n",
        SOUND + "C3,0,1,nan,0.5\n",
        SOUND + "C3,0,1,inf,0.5\n",
        SOUND + "C3,0,1,1.2,0.5\n",
        SOUND + "C3,0,1,-0.1,0.5\n",
        SOUND + "C3,0,1,0.4,nan\n",
        SOUND + "C3,x,1,0.4,0.5\n",
        SOUND + "C1,0,1,0.7,0.5\n",
        SOUND + "H" * 200_000 + ",0,1,0.4,0.5\n",
        SOUND + "\xff",
    ],
)
def test_what_no_run_writes_is_refused(tmp_path, text):
    (tmp_path / "predictions.csv").write_bytes(text.encode("latin-1"))

    with pytest.raises(ModelError, match=r"predictions\.csv cannot be read: copy it"):
        read_held_out(tmp_path)


def test_a_case_that_two_repeats_held_out_stands_there_twice(tmp_path):
    (tmp_path / "predictions.csv").write_text(SOUND + "C1,1,1,0.6,0.5\n")

    found = read_held_out(tmp_path)

    assert [fold.case_id for fold in found.folds] == [("C1", "C2"), ("C1",)]


def test_a_run_says_whose_its_cases_are(tmp_path):
    (tmp_path / "predictions.csv").write_text(SOUND)
    assert read_held_out(tmp_path).patient == ("C1", "C2")

    (tmp_path / "cases.json").write_text('{"C1": {}, "C2": {"patient": "C1"}}')
    found = read_held_out(tmp_path)

    assert found.patient == ("C1", "C1")
    assert found.folds[0].patient == ("C1", "C1")
    (tmp_path / "cases.json").write_text("[]")
    with pytest.raises(ModelError, match=r"cases\.json cannot be read"):
        read_held_out(tmp_path)
