"""What an import copies is whole, or is not there."""

import shutil

import pytest

from napari_harm3.cohort.importers.layout import copy_files
from napari_harm3.cohort.importers.listing import Listing
from napari_harm3.errors import CohortError


@pytest.fixture
def source(tmp_path):
    """Return a DICOM folder of two slices, one of them in a folder of its own."""
    folder = tmp_path / "scan"
    (folder / "more").mkdir(parents=True)
    (folder / "1.dcm").write_bytes(b"one")
    (folder / "more" / "2.dcm").write_bytes(b"two")
    return folder


def copy(source, out):
    listing = Listing(rows=[{"case_id": "A", "t1_pre": source}], name="x")
    ((_, copied),) = copy_files(listing, out)
    return copied["t1_pre"]


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_copied_folder_holds_no_slice_of_an_earlier_import(source, tmp_path):
    old = tmp_path / "out" / "A" / "t1_pre"
    old.mkdir(parents=True)
    (old / "9.dcm").write_bytes(b"old")

    copied = copy(source, tmp_path / "out")

    assert copied == old
    assert contents(copied) == {"1.dcm": b"one", "more/2.dcm": b"two"}
    assert [path.name for path in copied.parent.iterdir()] == ["t1_pre"]


def test_a_folder_that_cannot_be_copied_whole_is_absent(source, tmp_path, monkeypatch):
    def full(start, end):
        if start.name == "2.dcm":
            raise OSError(28, "No space left on device")
        return original(start, end)

    original = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(CohortError, match=r"^2\.dcm: No space left.*free some"):
        copy(source, tmp_path / "out")
    assert not (tmp_path / "out" / "A" / "t1_pre").exists()

    monkeypatch.undo()
    assert len(contents(copy(source, tmp_path / "out"))) == 2


def test_a_finished_copy_of_a_folder_is_kept(source, tmp_path):
    first = copy(source, tmp_path / "out").stat().st_ino

    assert copy(source, tmp_path / "out").stat().st_ino == first
    (source / "1.dcm").write_bytes(b"new")
    assert contents(copy(source, tmp_path / "out"))["1.dcm"] == b"new"


@pytest.mark.parametrize("place", ["A/t1_pre/scan", "A"])
def test_a_folder_is_never_replaced_by_a_copy_of_its_own_part(source, tmp_path, place):
    inside = tmp_path / "out" / place
    shutil.copytree(source, inside)
    before = contents(tmp_path / "out")

    with pytest.raises(CohortError, match="one in the other"):
        copy(inside, tmp_path / "out")

    assert contents(tmp_path / "out") == before
