"""Commands that are cut short end in one line, or in none where nobody reads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPTING = "import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")


def command(*words, stdout=subprocess.PIPE, **environment):
    """Run a command in a process of its own; return its exit code and its stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "napari_harm3.cli.main", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        check=False,
    )
    return done.returncode, done.stderr


@posix
@pytest.mark.parametrize("module", ["tyro", "pydantic", "tqdm"])
def test_a_stop_while_the_commands_load_is_told_in_a_line(tmp_path, module):
    (tmp_path / f"{module}.py").write_text(INTERRUPTING)

    told = command("models", PYTHONPATH=str(tmp_path))

    assert told == (130, "Stopped; what was finished is kept.\n")


@posix
@pytest.mark.parametrize("words", [("models", "--json"), ("--help",)])
def test_where_nobody_reads_on_nothing_is_said(words):
    read, write = os.pipe()
    os.close(read)

    told = command(*words, stdout=write)

    os.close(write)
    assert told == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device is always full")
def test_what_a_full_disk_does_not_take_is_told_in_a_line():
    with Path("/dev/full").open("w") as full:
        told = command("models", stdout=full)

    line = "harm3: The output: No space left on device: free some space.\n"
    assert told == (1, line)
