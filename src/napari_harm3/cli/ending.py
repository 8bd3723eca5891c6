"""How a command ends, whatever cuts it short.

It is there before all else, so it loads next to nothing.
"""

import os
import sys
from collections.abc import Callable

UNREAD = 141
"""The exit code where nobody reads on, as shells have it for a broken pipe."""


def ended(command: Callable[[], int]) -> int:
    """Run a command, see to it that what it printed arrives, return its exit code."""
    try:
        try:
            return command()
        finally:
            print(end="", flush=True)  # a full disk refuses what was printed only now
    except KeyboardInterrupt:
        return stopped()
    except BrokenPipeError:
        _drop(sys.stdout.fileno(), sys.stderr.fileno())
        return UNREAD
    except OSError as error:
        from napari_harm3.errors import sentence

        _drop(sys.stdout.fileno())
        print(f"harm3: {sentence(error, 'The output')}", file=sys.stderr)
        return 1


def stopped() -> int:
    """Say that the user stopped a command; return 130."""
    print("Stopped; what was finished is kept.", file=sys.stderr)
    return 130


def _drop(*descriptors: int) -> None:
    """Send nowhere what is still to be written, or Python complains as it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
