"""What is said of an error names no place on somebody's disk."""

import errno
import os

import pytest

from napari_harm3.errors import VolumeError, sentence


def test_the_file_is_named_and_what_to_do(tmp_path):
    missing = tmp_path / "t1.nii.gz"
    with pytest.raises(OSError, match="No such file") as met:
        missing.stat()

    said = sentence(met.value)

    assert said == "t1.nii.gz: No such file or directory: check that it is there."


def test_an_error_that_names_no_file_is_of_the_work_that_met_it():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert sentence(full, "summary.json").startswith("summary.json: No space left")


def test_our_own_sentence_is_left_as_it_is():
    assert sentence(VolumeError("a.nii.gz is cut short.")) == "a.nii.gz is cut short."
