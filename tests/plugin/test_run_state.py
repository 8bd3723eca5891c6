"""What a run folder says, read by hand-made events."""

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from napari_harm3.plugin.run_process import QUIET_SECONDS, RunProcess
from napari_harm3.plugin.run_state import RunState
from napari_harm3.plugin.table_state import TableState

START = datetime(2026, 1, 1, tzinfo=UTC)
METRICS = {"auc": {"mean": 0.7, "ci95": [0.6, 0.8]}, "n": 10}


def note(folder, *events, begin=START):
    """Append events; each is ``(seconds, kind, fields)``."""
    folder.mkdir(exist_ok=True, parents=True)
    with (folder / "events.jsonl").open("a") as stream:
        for seconds, kind, fields in events:
            when = (begin + timedelta(seconds=seconds)).isoformat()
            stream.write(json.dumps({"time": when, "kind": kind, **fields}) + "\n")


def begun(seconds=0, pid=None, **fields):
    return (seconds, "begun", {"pid": pid or os.getpid(), **fields})


def epoch(seconds, number, *, fold=0, epochs=4, loss=0.5, auc=None):
    said = {"epoch": number, "epochs": epochs, "loss": loss, "auc": auc}
    return (seconds, "epoch", {"fold": fold, "seconds": 10.0, **said})


def planned(folder, folds=2):
    folder.mkdir(exist_ok=True, parents=True)
    text = 'method = "harm3"\nfolds = {}\nrepeats = 1\n'
    (folder / "run.toml").write_text(text.format(folds))


def test_the_rest_takes_as_long_as_the_pace_so_far_says(tmp_path):
    planned(tmp_path)
    note(tmp_path, begun(), epoch(40, 1), epoch(50, 2), epoch(60, 3))
    state = RunState(tmp_path)

    assert state.read()

    # Three of eight epochs in 30 seconds; what came before them was no training.
    assert state.seconds_left == pytest.approx(50)
    assert state.running == [0]
    assert state.count == 2


def test_a_fold_that_failed_is_known_until_it_is_begun_again(tmp_path):
    planned(tmp_path)
    failed = (20, "failed", {"fold": 1, "text": "The loss is no number."})
    note(tmp_path, begun(), epoch(10, 1, fold=0), epoch(15, 1, fold=1), failed)
    state = RunState(tmp_path)
    state.read()

    assert [fold.failed for fold in state.folds.values()] == [False, True]
    assert state.running == []

    note(tmp_path, begun(30), epoch(40, 1, fold=1))
    state.read()

    assert [fold.failed for fold in state.folds.values()] == [False, False]
    assert state.running == [1]


def test_a_failure_may_name_no_fold(tmp_path):
    planned(tmp_path)
    note(tmp_path, begun(), epoch(10, 1), (20, "failed", {"text": "Disk full."}))
    state = RunState(tmp_path)
    state.read()

    assert (state.ended, state.text) == ("failed", "Disk full.")
    assert not state.folds[0].failed


def test_a_pause_does_not_slow_the_pace(tmp_path):
    planned(tmp_path)
    paused = (10, "paused", {"fold": 0, "text": "paused"})
    note(tmp_path, begun(), epoch(10, 1), paused, epoch(1000, 2))
    state = RunState(tmp_path)
    state.read()

    assert state.seconds_left == pytest.approx(30)
    assert not state.paused


def test_epochs_made_again_after_a_resume_are_drawn_once(tmp_path):
    planned(tmp_path)
    first = [epoch(10 * n, n, loss=0.9, auc=0.5) for n in (1, 2, 3)]
    again = [epoch(100 + 10 * n, n, loss=0.1) for n in (2,)]
    note(tmp_path, begun(), *first, (35, "stopped", {"text": "x"}), begun(90), *again)
    state = RunState(tmp_path)
    state.read()

    assert state.folds[0].loss == {1: 0.9, 2: 0.1}
    assert state.folds[0].auc == {1: 0.5}
    assert state.ended == ""
    assert state.begins == 2


def test_half_a_line_is_read_when_it_is_whole(tmp_path):
    planned(tmp_path)
    note(tmp_path, begun(), epoch(10, 1))
    path = tmp_path / "events.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    state = RunState(tmp_path)
    state.read()
    assert state.folds == {}

    path.write_bytes(whole)

    assert state.read()
    assert state.folds[0].epoch == 1
    assert not state.read()


@pytest.mark.parametrize("seen_empty", [True, False])
def test_a_run_that_is_deleted_and_begun_again_is_read_from_its_start(
    tmp_path, seen_empty
):
    run = tmp_path / "run"
    planned(run, folds=5)
    done = (3, "done", {"metrics": METRICS, "text": "done"})
    note(run, begun(), epoch(1, 1), epoch(2, 2), done)
    process = RunProcess(RunState(run))
    state = process.state
    state.read()
    assert process.start(["models"])  # ends soon, and says nothing in the folder

    shutil.rmtree(run)
    if seen_empty:
        assert state.read()
        assert (state.folds, state.ended, state.heard) == ({}, "", 0)
    planned(run, folds=2)
    # As long as what was read of the other, but not the same.
    epochs = [epoch(n, n, epochs=9, loss=0.25) for n in range(1, 5)]
    note(run, begun(), *epochs, begin=datetime.now(UTC))

    assert state.read()
    assert (state.count, state.ended, state.metrics) == (2, "", None)
    assert state.folds[0].loss == dict.fromkeys(range(1, 5), 0.25)
    assert process.status == "training"
    assert not state.read()


def test_a_table_that_is_begun_again_forgets_the_methods_of_the_other(tmp_path):
    note(tmp_path, begun(table="table1", methods=["abmil"]))
    planned(tmp_path / "abmil")
    note(tmp_path / "abmil", begun(1), epoch(10, 1))
    state = TableState(tmp_path)
    state.read()

    (tmp_path / "events.jsonl").unlink()
    shutil.rmtree(tmp_path / "abmil")
    note(tmp_path, begun(50, table="table2", methods=["harm3"]))
    state.read()

    assert (state.table, list(state.runs)) == ("table2", ["harm3"])


def test_a_note_is_kept_once_and_preparing_is_told(tmp_path):
    planned(tmp_path)
    said = (1, "warning", {"fold": 0, "text": "the MRI adds nothing"})
    work = (0, "preparing", {"stage": "volumes", "step": 3, "of": 8, "text": "C"})
    note(tmp_path, begun(), work)
    state = RunState(tmp_path)
    state.read()
    assert (state.stage, state.text) == ("preparing", "volumes 3 of 8")

    note(tmp_path, said, said, (2, "done", {"metrics": METRICS, "text": "done"}))
    state.read()

    assert state.said == {"the MRI adds nothing": "warning"}
    assert (state.ended, state.metrics) == ("done", METRICS)


def test_a_process_that_is_gone_is_silent_and_its_last_words_are_told(tmp_path):
    planned(tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    now = datetime.now(UTC)
    note(tmp_path, begun(pid=gone.pid), epoch(1, 1), begin=now)
    process = RunProcess(RunState(tmp_path))
    process.state.read()

    # Nobody here began it: it may work on another computer, until it is quiet.
    assert process.status == "training"
    process.state.heard = time.time() - QUIET_SECONDS - 1
    assert process.status == "silent"
    assert process.last_words == ""

    log = tmp_path / "process.log"
    log.write_text("volumes 3/9\rvolumes 4/9\nharm3: No GPU of that number.\n")
    assert process.last_words == "No GPU of that number."
    log.write_text("Traceback ...\n  line\ntorch.cuda.OutOfMemoryError: no memory\n")
    assert process.last_words == "no memory"


def test_stop_and_pause_are_files_that_the_run_sees(tmp_path):
    planned(tmp_path)
    note(tmp_path, begun(), epoch(1, 1), begin=datetime.now(UTC))
    process = RunProcess(RunState(tmp_path))
    process.state.read()
    assert process.status == "training"

    process.pause(on=True)
    assert process.status == "pausing"
    note(tmp_path, (2, "paused", {"fold": 0, "text": "p"}), begin=datetime.now(UTC))
    process.state.read()
    assert process.status == "paused"
    process.stop()

    assert process.status == "stopping"
    assert (tmp_path / "stop").exists()
    assert not (tmp_path / "pause").exists()


def test_a_table_counts_the_folds_of_all_its_methods(tmp_path):
    note(tmp_path, begun(table="table1", methods=["abmil", "harm3"]))
    planned(tmp_path / "abmil")
    work = [epoch(10, 1, epochs=1), (11, "fold", {"fold": 0, "auc": 0.6, "text": ""})]
    note(tmp_path / "abmil", begun(1), *work)
    state = TableState(tmp_path)

    state.read()

    assert state.table == "table1"
    assert state.count == 4
    assert state.done == 1
    assert state.stage == "training"
    assert state.result() is None
    assert state.seconds_left == pytest.approx(3 * 11)
