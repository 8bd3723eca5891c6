"""Whoever follows a run folder reads who works there, and why it ended."""

import json
import os

import pytest

from napari_harm3.errors import Stopped, TrainingError
from napari_harm3.training.config import RunConfig
from napari_harm3.training.run import begin, end_noted, open_run


def events(folder):
    return [json.loads(t) for t in (folder / "events.jsonl").read_text().splitlines()]


def test_a_run_says_which_process_works_in_it(tmp_path):
    config = RunConfig.of("harm3", "small")
    open_run(tmp_path / "run", config, resume=False)
    (tmp_path / "run" / "stop").touch()
    open_run(tmp_path / "run", config, resume=True)

    told = events(tmp_path / "run")

    assert [(one["kind"], one["pid"]) for one in told] == [("begun", os.getpid())] * 2
    assert not (tmp_path / "run" / "stop").exists()
    # What a run was made with is given away with it, and holds no such thing.
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert "pid" not in environment


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Stopped("Stopped in fold 1."), "stopped"),
        (TrainingError("Fold 1 failed."), "failed"),
        (OSError("No space left."), "failed"),
        (KeyboardInterrupt(), "stopped"),
        (GeneratorExit(), "stopped"),
    ],
)
def test_the_end_is_noted_and_goes_on_up(tmp_path, error, kind):
    begin(tmp_path, table="table1")

    with pytest.raises(type(error)), end_noted(tmp_path):
        raise error

    assert events(tmp_path)[-1]["kind"] == kind
    assert events(tmp_path)[0]["table"] == "table1"
