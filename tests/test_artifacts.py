"""A file that cannot be written is named, and nothing of it is left."""

import errno
import os
import subprocess
import sys

import pytest

from napari_harm3.artifacts import atomic_path, read_record, write_text
from napari_harm3.errors import sentence

FULL = """
import resource, sys
from pathlib import Path
from napari_harm3.artifacts import write_bytes
from napari_harm3.errors import sentence

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path(sys.argv[1]), bytes(2000))
except OSError as error:
    print(sentence(error))
"""


@pytest.mark.skipif(os.name == "nt", reason="no limit stands in for a full disk")
def test_a_disk_that_fills_leaves_nothing(tmp_path):
    told = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "bag.h5"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout == "bag.h5: File too large: free some space.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has another word for it")
def test_a_folder_in_its_place_is_named(tmp_path):
    folder = tmp_path / "page.html"
    folder.mkdir()

    with pytest.raises(IsADirectoryError) as met:
        write_text(folder, "a page")

    told = "page.html: Is a directory: give a file, not a folder."
    assert sentence(met.value) == told
    assert list(tmp_path.iterdir()) == [folder]


def test_a_name_that_the_disk_refuses_is_told_as_it_was_given(tmp_path):
    name = "n" * 250

    with pytest.raises(OSError, match="name too long") as met:
        write_text(tmp_path / name, "a page")

    assert sentence(met.value).startswith(f"{name}: File name too long")


def test_an_error_that_names_no_file_is_of_the_one_being_written(tmp_path):
    with pytest.raises(OSError, match="No space") as met, atomic_path(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert sentence(met.value).startswith("a: No space left on device")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file", "/in/b.tif"), "b.tif: No suc"),
        (OSError("Unable to create a group"), "A file: Unable to create a group"),
    ],
)
def test_an_error_of_something_else_keeps_its_words(tmp_path, error, told):
    with pytest.raises(OSError, match=r"No such|Unable") as met, atomic_path(tmp_path):
        raise error

    assert sentence(met.value).startswith(told)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'["checks"]', b"7", b"\xff", b"[" * 100_000]
)
def test_what_holds_no_object_is_as_if_it_were_not_there(tmp_path, content):
    (tmp_path / "checks.json").write_bytes(content)

    assert read_record(tmp_path / "checks.json") == {}
    assert read_record(tmp_path / "absent.json") == {}


def test_an_object_comes_back_as_it_was_kept(tmp_path):
    write_text(tmp_path / "checks.json", '{"key": "ä"}')

    assert read_record(tmp_path / "checks.json") == {"key": "ä"}
