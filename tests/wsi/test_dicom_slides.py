"""DICOM slides: a folder of files is one slide, and its damage is told."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pydicom
import pytest

from napari_harm3.errors import SlideError
from napari_harm3.wsi.folder import slides_in
from napari_harm3.wsi.slide import open_slide
from slide_files import (
    HIT,
    assert_told,
    bag,
    biopsy,
    cut,
    faults,
    features,
    write_dicom,
    write_dicom_slide,
)


def test_a_real_dicom_slide_opens_as_file_and_as_folder(real_data, tmp_path):
    file = real_data / "wsi" / "camelyon_jpeg.dcm"
    (tmp_path / "slide").mkdir()
    shutil.copyfile(file, tmp_path / "slide" / "1.dcm")

    for path in (file, tmp_path / "slide"):
        with open_slide(path, source_mpp=0.5) as slide:
            assert slide.level_dimensions == ((1152, 700),)
        (row,) = features([path], tmp_path / path.name[:3], source_mpp=0.5)
        assert row["status"] == "done"
        assert row["patches"] > 0


@pytest.mark.parametrize("suffix", [".dcm", ""])
def test_a_dicom_folder_is_one_slide_whatever_lies_beside_it(tmp_path, suffix):
    folder = write_dicom_slide(tmp_path / "d")
    for file in list(folder.iterdir()):
        file.rename(file.with_suffix(suffix))
    for name in (".hidden", "README.txt", "DICOMDIR"):
        (folder / name).write_text("no slide")

    (row,) = features([folder], tmp_path / "out")

    assert row["slide"] == str(folder)
    assert (row["status"], row["mpp"], row["patches"]) == ("done", [0.5, 0.5], 6)
    assert slides_in(tmp_path) == [folder]


def test_two_dicom_slides_in_a_folder_are_two(tmp_path):
    folder = write_dicom_slide(tmp_path / "d")
    other = write_dicom(
        folder / "2.dcm", biopsy(), series=pydicom.uid.generate_uid(), mpp=0.5
    )

    assert slides_in(folder) == [folder / "0.dcm", other]


def test_what_is_left_of_a_dicom_slide_is_used_at_its_own_resolution(tmp_path):
    no_coarse = write_dicom_slide(tmp_path / "a")
    (no_coarse / "1.dcm").unlink()
    no_fine = write_dicom_slide(tmp_path / "b")
    (no_fine / "0.dcm").unlink()

    rows = features([no_coarse, no_fine], tmp_path)

    assert [row["status"] for row in rows] == ["done", "failed"]
    assert_told(rows[1]["message"], "b has 1 microns per pixel, coarser", "", "allow")


@pytest.mark.parametrize("share", [0.01, 0.6, 0.99])
def test_a_cut_dicom_file_is_told(tmp_path, share):
    folder = write_dicom_slide(tmp_path / "d")
    cut(folder / "0.dcm", share)

    found = [fault for report in faults(folder) for fault in report]

    assert len(found) == 1
    assert "copy" in found[0]


def test_openslide_reads_on_after_a_damaged_place(tmp_path):
    path = write_dicom_slide(tmp_path / "d", damaged=HIT)
    with open_slide(path) as slide:
        assert slide.reader == "openslide"
        for _ in range(2):
            with pytest.raises(SlideError) as told:
                slide.read(0, 300, 300, 50, 50)
            assert_told(str(told.value), "d is damaged near x 300, y 300")
            again = slide.read(0, 150, 150, 50, 50)
            expected = biopsy()[150:200, 150:200]
            assert abs(again.astype(int) - expected).mean() < 6

    (row,) = features([path], tmp_path)

    assert row["status"] == "damaged"
    part = bag(tmp_path, "d")
    assert part["coords"][part["status"] == 1].tolist() == [[224, 224]]


def test_a_slide_is_closed_after_the_read_in_progress(tmp_path):
    slide = open_slide(write_dicom_slide(tmp_path / "d"))
    entered, go_on, closed = Event(), Event(), Event()
    handle = slide._handle

    class Slow:
        def read_region(self, *where):
            entered.set()
            go_on.wait()
            assert not closed.is_set()
            return handle.read_region(*where)

        def close(self):
            handle.close()
            closed.set()

    slide._handle = Slow()
    with ThreadPoolExecutor(2) as pool:
        read = pool.submit(slide.read, 0, 150, 150, 50, 50)
        assert entered.wait(60)
        end = pool.submit(slide.close)
        early = closed.wait(0.2)
        go_on.set()
        end.result(60)

    assert not early
    assert abs(read.result().astype(int) - biopsy()[150:200, 150:200]).mean() < 6
    with pytest.raises(SlideError) as told:
        slide.read(0, 150, 150, 50, 50)
    assert_told(str(told.value), "d is closed")
