"""What the doctor says of slides: the level, the tile, the bytes, and what to do."""

from pathlib import Path

import pytest

from napari_harm3.jobs.doctor import examine
from napari_harm3.jobs.progress import result_of
from slide_files import (
    HIT,
    assert_told,
    cut,
    faults,
    no_bytes,
    no_header,
    set_tag,
    tile_of,
    write_dicom_slide,
    write_slide,
    write_svs,
)


def test_the_doctor_tells_damage_by_level_tile_and_bytes(tmp_path):
    sound, hurt, lost, short, unsized = (
        write_slide(tmp_path / f"{name}.tif", mpp=mpp)
        for name, mpp in zip("abcde", [0.5, 0.5, 0.5, 0.5, None], strict=True)
    )
    no_header(hurt)
    no_bytes(lost)
    whole = short.stat().st_size
    offset, count = tile_of(short, 8, level=1)
    cut(short, 1 - 20 / whole)
    kept = short.stat().st_size

    rows = result_of(examine([sound, hurt, lost, short, unsized]))["files"]

    said = [" ".join(row["faults"]) for row in rows]
    assert said[0] == said[4] == ""
    assert "Level 0: 1 of 30 tiles tried are damaged, the first is tile 14" in said[1]
    assert "Level 0 lacks 1 of 30 tiles, 1 empty; the first is tile 14 (0" in said[2]
    assert f"1 beyond the end of the file ({kept} of {whole} bytes" in said[3]
    assert f"tile 8 ({count} bytes at {offset})" in said[3]
    assert all("copy the file again" in fault for fault in said[1:4])
    assert any("does not state its resolution" in note for note in rows[4]["notes"])
    assert [row["kind"] for row in rows[:3]] == ["slide (generic-tiff)"] * 3


def test_the_doctor_tells_a_level_of_which_nothing_is_left(tmp_path):
    path = write_slide(tmp_path / "a.tif")
    set_tag(path, "TileByteCounts", [0] * 9, level=1)

    ((fault,),) = faults(path)

    assert "Level 1 lacks 9 of 9 tiles, 9 empty; the first is tile 0" in fault


def test_the_doctor_examines_a_folder_slide_by_slide(tmp_path):
    write_slide(tmp_path / "a.tif")
    cut(write_slide(tmp_path / "b.tif"), 0.1)
    write_dicom_slide(tmp_path / "c", damaged=HIT)

    rows = result_of(examine([tmp_path]))["files"]

    assert [Path(row["file"]).name for row in rows] == ["a.tif", "b.tif", "c"]
    assert [len(row["faults"]) for row in rows] == [0, 1, 1]
    assert "Level 0: " in rows[2]["faults"][0]


@pytest.mark.parametrize("make", [write_svs, write_slide])
def test_a_compression_without_decoder_is_named(tmp_path, make):
    path = make(tmp_path / "a.svs")
    set_tag(path, "Compression", 34661)

    ((fault,),) = faults(path)

    assert_told(fault, "a.svs is compressed as JBIG", "no decoder", "convert it")
