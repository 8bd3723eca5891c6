"""What other processes are at."""

import time

import psutil


def is_at_work(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def workers_of(process):
    children = psutil.Process(process.pid).children()
    return [child for child in children if "spawn_main" in str(child.cmdline())]


def wait_until(found, seconds=30):
    """Return what is found, as soon as there is any; other processes tell no event."""
    end = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return answer
