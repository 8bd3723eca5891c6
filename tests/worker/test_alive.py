"""Whether a process is still there."""

import os
import subprocess
import sys
import time

from napari_harm3.worker.alive import alive


def test_a_younger_process_under_the_same_number_is_another():
    assert alive(os.getpid())
    assert alive(os.getpid(), time.time())
    assert not alive(os.getpid(), seen=1.0)


def test_a_process_that_ended_is_gone_before_anybody_asked_how():
    ended = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    ended.stdout.read()
    deadline = time.monotonic() + 10
    while alive(ended.pid) and time.monotonic() < deadline:
        pass

    assert not alive(ended.pid)
    ended.communicate()
