"""Progress on stderr, the result on stdout, and a clean end."""

import io
import sys

import pytest

from napari_harm3.cli.show import show, unanswered
from napari_harm3.jobs.progress import Progress, finished


class Terminal(io.StringIO):
    """A terminal at which somebody presses Ctrl+C as a text is first drawn."""

    def __init__(self, text):
        super().__init__()
        self.text = text

    def write(self, text):
        written = super().write(text)
        if self.text and self.text in text:
            self.text = ""
            raise KeyboardInterrupt
        return written


def two_stages():
    for stage in ("volumes", "slides"):
        for step in range(3):
            yield Progress(stage=stage, step=step, of=3)
    yield finished("slides", {"cases": 3})


@pytest.mark.parametrize("text", ["volumes", "1/3", "slides"])
def test_a_stop_while_the_bar_is_drawn_ends_its_line(monkeypatch, capsys, text):
    terminal = Terminal(text)
    monkeypatch.setattr(sys, "stderr", terminal)

    code = show(two_stages(), json=True, summary=str)

    *_, bar, last, empty = terminal.getvalue().split("\n")
    assert code == 130
    assert "/3" in bar
    assert (last, empty) == ("Stopped; what was finished is kept.", "")
    assert capsys.readouterr().out == ""


def test_a_stage_has_a_bar_and_the_result_comes_last(capsys):
    code = show(two_stages(), json=True, summary=str)

    out, err = capsys.readouterr()
    assert (code, out) == (0, '{"cases": 3}\n')
    assert [line.split("\r")[-1].split()[0] for line in err.split("\n")[:-1]] == [
        "volumes",
        "slides",
    ]


@pytest.mark.parametrize(
    "message",
    ["t1_pre.nii.gz holds NaN.", "Case A lacks wsi, and this model needs it."],
)
def test_a_case_without_an_answer_is_named_once(capsys, message):
    row = {"case_id": "A", "probability": None, "message": message}

    assert unanswered(row)
    assert not unanswered(row | {"probability": 0.0})

    told = capsys.readouterr().err
    assert told.startswith("harm3: Case A")
    assert told.count("Case A") == told.count("\n") == 1
