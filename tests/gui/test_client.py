"""The viewer's end of a real worker: cancels, closes, and never goes silent."""

import signal
import sys

import psutil
import pytest

from napari_harm3.plugin import client as client_module
from napari_harm3.plugin.client import ENDED, NOT_STARTED, Client, Listener
from window_steps import LONG

pytestmark = [pytest.mark.gui, pytest.mark.worker]
GRACE_MS = 300


class Heard:
    """Notes what a client says of a request."""

    def __init__(self, client, job, **params):
        self.steps, self.results, self.failures = 0, [], []
        listener = Listener(
            then=self.results.append, progress=self._step, failed=self.failures.append
        )
        self.number = client.ask(job, params, listener)

    def _step(self, _):
        self.steps += 1


@pytest.fixture
def client(qapp, tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "GRACE_MS", GRACE_MS)
    client = Client(tmp_path / "work")
    yield client
    client.end()


@pytest.fixture
def make(client, tmp_path):
    """Return a function that asks for a cohort of some cases, about a second each."""

    def ask(name, cases, of=client):
        config = {"cases": cases}
        return Heard(of, "make_phantom", out=str(tmp_path / name), config=config)

    return ask


def test_to_cancel_a_request_that_waits_leaves_the_running_one_alone(
    qtbot, client, make
):
    running = make("running", 50)
    qtbot.waitUntil(lambda: running.steps > 0, timeout=LONG)
    waiting = make("waiting", 1)
    steps = running.steps

    client.cancel(waiting.number)
    qtbot.waitUntil(lambda: waiting.failures == [""], timeout=LONG)
    qtbot.wait(2 * GRACE_MS)
    qtbot.waitUntil(lambda: running.steps > steps + 1, timeout=LONG)

    assert running.failures == []


def test_a_bug_is_told_in_a_sentence_and_logged_whole(qtbot, client, caplog):
    heard = Heard(client, "make_phantom", out="no\0path", config={"cases": 1})

    qtbot.waitUntil(lambda: heard.failures != [], timeout=LONG)

    assert heard.failures == ["The worker met a bug; its traceback is in the log."]
    assert "Traceback" in caplog.text


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing else hangs so well")
def test_a_running_job_that_hangs_is_killed_and_no_other_is(qtbot, client, make):
    running = make("running", 50)
    qtbot.waitUntil(lambda: running.steps > 0, timeout=LONG)
    waiting = make("waiting", 1)
    worker = psutil.Process(client._process.processId())
    worker.send_signal(signal.SIGSTOP)
    qtbot.waitUntil(lambda: worker.status() == psutil.STATUS_STOPPED, timeout=LONG)

    client.cancel(waiting.number)
    qtbot.wait(2 * GRACE_MS)
    assert (running.failures, waiting.failures) == ([], [])
    client.cancel(running.number)

    qtbot.waitUntil(lambda: not client.busy, timeout=LONG)
    assert (running.failures, waiting.failures) == ([""], [ENDED])


def test_whoever_waits_for_a_worker_that_is_closed_hears_that_it_is_over(
    qtbot, client, make
):
    first, second = make("first", 50), make("second", 1)
    qtbot.waitUntil(lambda: first.steps > 0, timeout=LONG)

    client.close()

    assert (first.failures, second.failures) == ([""], [""])
    assert not client.busy


def test_the_number_of_a_request_is_never_anothers(client, make, tmp_path):
    first = make("first", 1)
    client.close()
    other = Client(tmp_path / "other")

    second = make("second", 1, of=other)

    assert second.number > first.number
    other.end()


def test_a_worker_that_cannot_start_is_told(qtbot, client, make, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(tmp_path / "none"))
        lost = make("lost", 1)
        qtbot.waitUntil(lambda: not client.busy, timeout=LONG)
    assert lost.failures == [NOT_STARTED]

    again = make("again", 1)
    qtbot.waitUntil(lambda: not client.busy, timeout=LONG)
    assert again.results[0]["cases"] == 1
