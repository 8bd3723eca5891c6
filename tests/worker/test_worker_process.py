"""The real worker process: answers, refuses, cancels, survives."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_harm3.mri.volume import write_volume

pytestmark = pytest.mark.worker


class Talk:
    """A viewer's side of the conversation."""

    def __init__(self, work):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "napari_harm3.worker", "--work", str(work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.hear()["kind"] == "ready"

    def say(self, **request):
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self):
        return json.loads(self.process.stdout.readline())

    def until_end(self):
        while (answer := self.hear())["kind"] == "progress":
            pass
        return answer


@pytest.fixture
def talk(tmp_path):
    conversation = Talk(tmp_path / "work")
    yield conversation
    conversation.process.kill()
    conversation.process.communicate()


def phantom(tmp_path, cases):
    return {"out": str(tmp_path / "cohort"), "config": {"cases": cases}}


def test_a_job_ends_with_its_result(talk, tmp_path):
    talk.say(id=1, job="make_phantom", params=phantom(tmp_path, 1))

    answer = talk.until_end()

    assert answer["kind"] == "result"
    assert answer["result"]["cases"] == 1
    assert (tmp_path / "cohort" / "cohort.csv").exists()


def test_a_mistake_is_refused_in_one_sentence_and_the_worker_lives(talk, tmp_path):
    talk.say(id=1, job="check_cohort", params={"cohort": str(tmp_path / "none.csv")})
    talk.say(id=2, job="make_coffee", params={})
    talk.say(id=3, job="check_cohort", params={"cohort": 7})

    answers = [talk.until_end() for _ in range(3)]

    assert [answer["kind"] for answer in answers] == ["refused"] * 3
    assert "none.csv" in answers[0]["text"]


def test_a_cancelled_job_stops_between_two_steps(talk, tmp_path):
    talk.say(id=5, job="make_phantom", params=phantom(tmp_path, 50))
    assert talk.hear()["kind"] == "progress"
    talk.say(id=5, kind="cancel")

    assert talk.until_end()["kind"] == "cancelled"
    assert not (tmp_path / "cohort" / "cohort.csv").exists()
    talk.say(id=5, job="make_phantom", params=phantom(tmp_path / "again", 1))
    assert talk.until_end()["kind"] == "result"  # a cancel holds once


def test_a_request_that_has_not_begun_is_cancelled_at_once(talk, tmp_path):
    talk.say(id=5, job="make_phantom", params=phantom(tmp_path, 50))
    assert talk.hear()["kind"] == "progress"
    talk.say(id=6, job="make_phantom", params=phantom(tmp_path / "other", 1))
    talk.say(id=6, kind="cancel")

    answer = talk.until_end()
    assert (answer["id"], answer["kind"]) == (6, "cancelled")
    assert talk.hear()["id"] == 5  # goes on

    talk.say(id=5, kind="cancel")
    talk.say(id=7, job="make_coffee", params={})
    assert [talk.until_end()["id"] for _ in range(2)] == [5, 7]
    assert not (tmp_path / "other").exists()


def test_a_file_is_named_without_its_folder(talk, tmp_path):
    (tmp_path / "cohort").write_text("a file")
    talk.say(id=1, job="make_phantom", params=phantom(tmp_path, 1))

    answer = talk.until_end()

    assert answer["kind"] == "refused"
    assert answer["text"].startswith("cohort is no folder")
    assert str(tmp_path) not in answer["text"]


def test_arrays_of_a_worker_that_is_gone_are_removed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    gone.stdout.read()
    arrays = tmp_path / "work" / "arrays"
    for process in (gone.pid, os.getpid()):
        (arrays / str(process)).mkdir(parents=True)

    conversation = Talk(tmp_path / "work")
    conversation.process.kill()
    conversation.process.communicate()

    assert [folder.name for folder in arrays.iterdir()] == [str(os.getpid())]
    gone.communicate()


def test_a_registration_hears_a_cancel_in_the_middle(talk, tmp_path):
    rng = np.random.default_rng(0)
    body = gaussian_filter(rng.random((160, 160, 160), dtype=np.float32), 4)
    body = (255 * (body - body.min()) / np.ptp(body)).astype(np.uint8)
    for name, array in {"pre": body, "post": np.roll(body, 9, axis=0)}.items():
        write_volume(tmp_path / f"{name}.nii.gz", array, np.eye(4))
    table = tmp_path / "cohort.csv"
    table.write_text("case_id,t1_pre,t1_post\nA,pre.nii.gz,post.nii.gz\n")
    talk.say(id=4, job="register_case", params={"cohort": str(table), "case": "A"})
    while (answer := talk.hear())["stage"] != "register":
        assert answer["kind"] == "progress"

    talk.say(id=4, kind="cancel")

    assert talk.until_end()["kind"] == "cancelled"
    talk.say(id=5, job="make_coffee", params={})
    assert talk.until_end()["kind"] == "refused"


def test_arrays_are_handed_over_as_files_and_removed_on_word(talk, tmp_path):
    talk.say(id=1, job="make_phantom", params=phantom(tmp_path, 1))
    talk.until_end()
    slide = tmp_path / "cohort" / "HN-0001" / "biopsy.tif"
    talk.say(
        id=2,
        job="preview_tissue",
        params={"slide": str(slide), "tissue": {}, "patches": {}},
    )
    coords = talk.until_end()["result"]["coords"]["npy"]
    folder = tmp_path / "work" / "arrays" / str(talk.process.pid) / "2"
    assert folder.exists()
    assert coords.startswith(str(folder))

    talk.say(id=2, kind="done_with_arrays")
    talk.say(id=3, job="make_coffee", params={})
    talk.until_end()

    assert not folder.exists()
