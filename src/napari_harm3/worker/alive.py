"""Whether a process is still there."""

import psutil


def alive(pid: int, seen: float | None = None) -> bool:
    """Return whether a process runs, and is no younger one under an old number.

    Parameters
    ----------
    pid
        Its number.
    seen
        When it was there, in seconds since 1970.
    """
    try:
        process = psutil.Process(pid)
        ended = process.status() == psutil.STATUS_ZOMBIE
        other = seen is not None and process.create_time() > seen + 1
    except psutil.AccessDenied:  # alive, and somebody else's
        return True
    except psutil.Error:
        return False
    return not (ended or other)
