"""Real commands, killed and stopped in the middle: nothing lost, nobody left."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from other_processes import is_at_work, workers_of
from small_slides import (
    ENCODER,
    assert_same_bags,
    content_of,
    features_job,
    write_slide,
)

from napari_harm3.jobs.progress import result_of
from napari_harm3.wsi.bags import read_bag
from napari_harm3.wsi.features import own_attributes

pytestmark = pytest.mark.slow
ONE_BY_ONE = (*ENCODER[:-1], "1")


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """Return a folder of a slide that is soon done and two that are not."""
    folder = tmp_path_factory.mktemp("slides")
    write_slide(folder / "a-small.tif", patches=2)
    write_slide(folder / "b-large.tif", patches=4, seed=1)
    write_slide(folder / "c-large.tif", patches=4, seed=2)
    return folder


@pytest.fixture(scope="module")
def undisturbed(slides, tmp_path_factory):
    """Return the folder of bags that nobody disturbed."""
    out = tmp_path_factory.mktemp("undisturbed")
    result_of(features_job([slides], out, batch=1))
    return out


@pytest.fixture
def begin():
    """Begin commands in processes of their own; none outlives the test."""
    begun = []

    def run(*words):
        command = [sys.executable, "-m", "napari_harm3.cli.main", *map(str, words)]
        begun.append(
            subprocess.Popen(
                [*command, "--json"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return begun[-1]

    yield run
    for process in begun:
        process.kill()
        process.communicate()


def hear(process, pattern):
    """Read a command's progress until it says something; return all that it said."""
    said = ""
    while not re.search(pattern, said):
        heard = process.stderr.read(1)
        assert heard, said
        said += heard
    return said


def test_a_killed_command_frees_its_slide_and_loses_at_most_one_batch(
    begin, slides, undisturbed, tmp_path
):
    killed = begin("features", slides / "b-large.tif", "--out", tmp_path, *ONE_BY_ONE)
    hear(killed, r" 5/\d+")
    job = features_job([slides / "b-large.tif"], tmp_path, batch=1)
    while "another process is at it" not in (message := next(job)).text:
        assert message.result is None

    killed.kill()
    killed.wait()
    journal = json.loads((tmp_path / "b-large.harm3.h5.part/journal.json").read_text())
    first = next(message for message in job if message.of)
    result = result_of(job)

    assert first.step == journal["rows"] >= 5
    assert [row["status"] for row in result["slides"]] == ["done"]
    bag = tmp_path / "b-large.harm3.h5"
    for key, value in content_of(undisturbed / bag.name).items():
        assert str(content_of(bag)[key]) == str(value)
    begun = journal["attributes"]["created"]
    assert own_attributes(bag)["created"] == begun
    assert not bag.with_name(bag.name + ".part").exists()


def test_two_commands_share_a_folder_and_each_slide_is_done_once(
    begin, slides, undisturbed, tmp_path
):
    words = ("features", slides, "--out", tmp_path, *ONE_BY_ONE, "--workers", "1")
    both = [begin(*words), begin(*words)]

    ended = [process.communicate() for process in both]

    assert [process.returncode for process in both] == [0, 0]
    rows = [json.loads(out)["slides"] for out, _ in ended]
    for mine in rows:
        assert [row["status"] for row in mine] == ["done"] * 3
        assert [row["patches"] for row in mine] == [row["patches"] for row in rows[0]]
    for name in ("a-small", "b-large", "c-large"):
        begun = [bool(re.search(rf" 0/\d+ .*{name}\.tif", said)) for _, said in ended]
        assert sum(begun) == 1, name
    assert_same_bags(tmp_path, undisturbed)
    assert {path.name for path in tmp_path.iterdir()} == {
        ".locks",
        "summary.json",
        *(f"{name}.harm3.h5" for name in ("a-small", "b-large", "c-large")),
    }


def test_a_polite_kill_keeps_what_is_finished(begin, slides, tmp_path):
    words = ("features", slides, "--out", tmp_path, *ONE_BY_ONE, "--workers", "1")
    stopped = begin(*words)
    hear(stopped, r" 1/\d+ .*b-large\.tif")

    stopped.terminate()
    out, said = stopped.communicate()

    assert_stopped(stopped, out, said)
    assert len(read_bag(tmp_path / "a-small.harm3.h5").features)
    assert (tmp_path / "b-large.harm3.h5.part").exists()


def test_ctrl_c_keeps_what_is_finished_and_leaves_no_process(begin, slides, tmp_path):
    words = ("features", slides, "--out", tmp_path, *ONE_BY_ONE, "--workers", "2")
    stopped = begin(*words)
    hear(stopped, r" 1/3")
    workers = workers_of(stopped)

    os.killpg(stopped.pid, signal.SIGINT)  # a terminal tells all of them
    out, said = stopped.communicate()

    assert_stopped(stopped, out, said)
    assert len(workers) == 2
    assert not any(is_at_work(worker) for worker in workers)
    made = {path.name for path in tmp_path.glob("*.harm3.h5")}
    assert "a-small.harm3.h5" in made
    assert "c-large.harm3.h5" not in made
    for name in made:
        assert len(read_bag(tmp_path / name).features)


def assert_stopped(process, out, said):
    assert process.returncode == 130
    assert out == ""
    assert "Stopped; what was finished is kept." in said
    assert "Traceback" not in said
