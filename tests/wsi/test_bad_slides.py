"""Slides that are damaged, cut or missing: each is named, and none stops the rest."""

import json
import os
import re
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile

from drawn_slides import write_tiff
from napari_harm3.cli.main import main
from napari_harm3.errors import SlideError
from napari_harm3.wsi.folder import slides_in
from napari_harm3.wsi.patch_pixels import read_patch
from napari_harm3.wsi.slide import Slide, open_slide
from napari_harm3.wsi.tiff import TiledTiff
from slide_files import (
    GLASS,
    HIT,
    TILE,
    assert_told,
    bag,
    beyond_the_end,
    biopsy,
    cut,
    faults,
    features,
    flipped_stretch,
    gigabytes,
    move_directory_to_the_end,
    no_bytes,
    no_header,
    overwrite,
    set_tag,
    tile_of,
    tissue,
    write_dicom,
    write_slide,
)

DAMAGE = [no_header, flipped_stretch, no_bytes, beyond_the_end, gigabytes]


@pytest.mark.parametrize("damage", DAMAGE)
def test_patches_on_a_damaged_tile_are_marked_and_never_white(tmp_path, damage):
    sound, broken = write_slide(tmp_path / "s.tif"), write_slide(tmp_path / "b.tif")
    damage(broken)

    rows = features([sound, broken], tmp_path)

    whole, part = bag(tmp_path, "s"), bag(tmp_path, "b")
    x, y = part["coords"].T
    left, top = HIT % 6 * TILE, HIT // 6 * TILE
    hit = (x < left + TILE) & (x + 224 > left) & (y < top + TILE) & (y + 224 > top)
    assert 0 < hit.sum() < len(hit)
    np.testing.assert_array_equal(part["status"], hit)
    assert not part["features"][hit].any()
    np.testing.assert_allclose(
        part["features"][~hit], whole["features"][~hit], atol=1e-4
    )
    assert [row["status"] for row in rows] == ["done", "damaged"]
    assert rows[1]["damaged"] == hit.sum()
    assert "patches could not be read" in rows[1]["message"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_place_is_told_where_it_is_read(tmp_path, damage):
    path = write_slide(tmp_path / "b.tif")
    damage(path)

    with open_slide(path) as slide:
        with pytest.raises(SlideError) as told:
            read_patch(slide, 224, 224, level0_px=(224, 224), size=224)
        elsewhere = slide.read(0, 0, 0, 90, 90)

    assert_told(str(told.value), "b.tif is damaged near x 256, y 256", "tile 14")
    assert abs(elsewhere.astype(int) - GLASS).max() < 3


@pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
def test_a_slide_cut_before_its_directory_is_refused(tmp_path, share):
    path = write_slide(tmp_path / "cut.tif")
    move_directory_to_the_end(path)
    cut(path, share)

    with pytest.raises(SlideError) as told:
        open_slide(path)

    assert_told(str(told.value), "cut.tif is cut short", "bytes are there", "Copy it")


@pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
def test_of_a_slide_cut_behind_its_directory_the_rest_is_used(tmp_path, share):
    path = write_slide(tmp_path / "cut.tif", [biopsy()])
    cut(path, share)

    (row,) = features([path], tmp_path)

    part = bag(tmp_path, "cut")
    assert row["status"] == "damaged"
    assert "overview could not be read" in row["message"]
    size = path.stat().st_size
    with open_slide(path) as slide:
        held = np.setdiff1d(np.arange(30), slide.tiff.broken(0))
    assert all(sum(tile_of(path, tile)) <= size for tile in held)
    assert len(held) == sum(sum(tile_of(path, tile)) <= size for tile in range(30))
    lost = [t for t in range(30) if t not in held]
    for (x, y), status in zip(part["coords"], part["status"], strict=True):
        columns, rows = range(x // TILE, (x + 223) // TILE + 1), range(y // TILE, 5)
        touched = {
            row * 6 + column
            for row in rows
            if row * TILE < y + 224
            for column in columns
        }
        assert status == bool(touched & set(lost))


@pytest.mark.parametrize("kept", [30, -30])
def test_a_slide_cut_within_its_directory_is_refused(tmp_path, kept):
    path = write_slide(tmp_path / "cut.tif")
    if kept < 0:
        move_directory_to_the_end(path)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(SlideError) as told:
        open_slide(path)

    assert_told(str(told.value), "cut.tif", remedy="opy it again")


def empty_file(path):
    path.write_bytes(b"")


def text_file(path):
    path.write_text("no slide at all " * 40)


def folder(path):
    path.mkdir()


def full_folder(path):
    path.mkdir()
    (path / "notes.txt").write_text("no slide")


def dangling_link(path):
    path.symlink_to("gone.svs")


def looped_link(path):
    path.symlink_to(path.name)


def nothing(path):
    del path


@pytest.mark.parametrize(
    ("make", "what", "remedy"),
    [
        (empty_file, "is empty (0 bytes)", "copy it again"),
        (text_file, "of a format that OpenSlide does not read", "convert it"),
        (folder, "is a folder without a DICOM slide", "give the slide's file"),
        (full_folder, "is a folder without a DICOM slide", "give the slide's file"),
        (dangling_link, "is a link to a file that is gone", "correct the path"),
        (looped_link, "is a link to a file that is gone", "correct the path"),
        (nothing, "does not exist", "correct the path"),
    ],
)
def test_what_is_no_slide_says_what_it_is(tmp_path, make, what, remedy):
    make(tmp_path / "a.svs")

    with pytest.raises(SlideError) as told:
        open_slide(tmp_path / "a.svs")

    assert_told(str(told.value), "a.svs", what, remedy)
    assert faults(tmp_path / "a.svs") == [[str(told.value)]]


def test_an_mrxs_without_its_folder_asks_for_it(tmp_path):
    path = tmp_path / "a.mrxs"
    path.write_bytes(b"\xff\xd8\xff\xe0" * 100)

    with pytest.raises(SlideError) as told:
        open_slide(path)

    assert_told(str(told.value), "a.mrxs needs the folder a beside it", "", "copy both")


@pytest.mark.parametrize("path", [["x" * 300 + ".tif"], ["a.tif", "b.tif"]])
def test_a_path_that_cannot_be_is_told(tmp_path, path):
    write_slide(tmp_path / "a.tif")

    with pytest.raises(SlideError) as told:
        open_slide(tmp_path.joinpath(*path))

    assert_told(str(told.value), path[-1])


def test_every_slide_of_a_batch_ends_as_one_row(tmp_path, capsys):
    good = [write_slide(tmp_path / f"good{number}.tif") for number in (1, 2)]
    hurt = write_slide(tmp_path / "hurt.tif")
    no_header(hurt)
    bare = write_slide(tmp_path / "bare.tif", [np.full((600, 600, 3), GLASS, np.uint8)])
    short = write_slide(tmp_path / "short.tif")
    cut(short, 0.1)
    unsized = write_slide(tmp_path / "unsized.tif", mpp=None)
    (tmp_path / "copy").mkdir()
    same_stem = write_slide(tmp_path / "copy" / "good1.tiff")
    for name, make in (("e.svs", empty_file), ("t.svs", text_file), ("f", folder)):
        make(tmp_path / name)
    bad = [tmp_path / name for name in ("e.svs", "t.svs", "f", "none.svs")]
    slides = [good[0], *bad, short, hurt, bare, unsized, same_stem, good[1]]

    with pytest.raises(SystemExit) as ended:
        main(["tissue", *map(str, slides), "--out", str(tmp_path / "o"), "--json"])
    outlined = json.loads(capsys.readouterr().out)["slides"]
    encoded = features(slides, tmp_path / "o")

    assert ended.value.code == 1
    for rows in (outlined, encoded):
        assert [Path(row["slide"]) for row in rows] == slides
        status = {Path(row["slide"]).name: row["status"] for row in rows}
        assert status == {
            **dict.fromkeys(["good1.tif", "good2.tif"], "done"),
            **dict.fromkeys(["e.svs", "t.svs", "f", "none.svs"], "failed"),
            **dict.fromkeys(["short.tif", "unsized.tif", "good1.tiff"], "failed"),
            "hurt.tif": "done" if rows is outlined else "damaged",
            "bare.tif": "empty",
        }
        for row in rows:
            if row["status"] == "failed":
                assert row["message"].endswith(".")
                assert str(tmp_path) not in row["message"]
            assert (row["message"] == "") == (row["status"] == "done")
    assert "same name" in encoded[-2]["message"]
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert summary["slides"] == encoded


def test_none_of_the_patches_readable_is_a_failure(tmp_path):
    path = write_slide(tmp_path / "a.tif")
    for tile in range(30):
        overwrite(path, tile_of(path, tile)[0], bytes(100))

    (row,) = features([path], tmp_path)

    assert row["status"] == "failed"
    assert_told(row["message"], "a.tif is damaged: none of its", "", "Copy it again")


def all_blank(path):
    for tile in range(30):
        overwrite(path, tile_of(path, tile)[0], bytes(100))


def all_lost(path):
    set_tag(path, "TileByteCounts", [0] * 30)


def dicom(path):
    return write_dicom(path, biopsy(), series=pydicom.uid.generate_uid())


@pytest.mark.parametrize("damage", [all_blank, all_lost])
def test_a_slide_of_which_nothing_can_be_read_is_a_failure(tmp_path, damage):
    path = write_slide(tmp_path / "a.tif", [biopsy()])
    damage(path)

    for rows in (tissue([path], tmp_path), features([path], tmp_path)):
        assert [row["status"] for row in rows] == ["failed"]
        assert_told(rows[0]["message"], "a.tif is damaged: nothing", "", "Copy it")
    assert not (tmp_path / "a.harm3.h5").exists()


def test_a_dicom_slide_of_which_nothing_can_be_read_is_a_failure(tmp_path):
    path = dicom(tmp_path / "a.dcm")
    content = path.read_bytes()
    heads = [m.start() for m in re.finditer(b"\xff\xd8\xff", content)]
    for head in heads:
        overwrite(path, head, bytes(200))
    assert len(heads) == 30

    for rows in (tissue([path], tmp_path), features([path], tmp_path)):
        assert [row["status"] for row in rows] == ["failed"]
        assert_told(rows[0]["message"], "a.dcm is damaged: nothing", "", "Copy it")


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_cut_tile_of_jpeg_2000_is_damaged(tmp_path, kept):
    about = "Aperio Image Library v10.0.51\r\n768x640 (128x128) J2K|MPP = 0.5"
    path = write_slide(
        tmp_path / "a.svs",
        [biopsy()],
        compression="APERIO_JP2000_RGB",
        description=about,
    )
    assert faults(path) == [[]]
    offset, count = tile_of(path, HIT)
    overwrite(path, offset + int(count * kept), bytes(count - int(count * kept)))

    with open_slide(path) as slide, pytest.raises(SlideError) as told:
        slide.read(0, 300, 300, 20, 20)

    assert_told(str(told.value), "a.svs is damaged near x 256, y 256", "tile 14")
    ((fault,),) = faults(path)
    assert "Level 0: 1 of 30 tiles tried are damaged, the first is tile 14" in fault


def test_the_tiles_of_a_real_jpeg_2000_slide_are_sound(real_data):
    assert faults(real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs") == [[]]


def test_a_resolution_unit_of_two_values_is_told(tmp_path):
    path = write_slide(tmp_path / "a.tif", [biopsy()], compression="lzma")
    widen_tag(path, 296)

    with pytest.raises(SlideError) as told:
        open_slide(path)

    assert_told(str(told.value), "a.tif is damaged in its directory", "", "copy it")


def widen_tag(path, code):
    """Say that a tag of a little-endian TIFF holds two short numbers, not one."""
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].tags[code].offset
    overwrite(path, offset + 4, struct.pack("<IHH", 2, 3, 3))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_told_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.svs")
    os.mkfifo(tmp_path / "b.dcm")

    found = slides_in(tmp_path)

    assert [path.name for path in found] == ["a.svs", "b.dcm"]
    for path in found:
        with pytest.raises(SlideError) as told:
            open_slide(path)
        assert_told(str(told.value), f"{path.name} is a pipe", "", "give the slide's")


def test_a_slide_that_does_not_open_lets_go_of_its_file(tmp_path, monkeypatch):
    write_tiff(tmp_path / "s.tif", np.full((300, 300, 3), 200, np.uint8))
    closed = []

    def refused(_):
        raise SlideError("its tags make no sense")

    def noted(tiff):
        closed.append(tiff)

    monkeypatch.setattr(Slide, "_own_mpp", property(refused))
    monkeypatch.setattr(TiledTiff, "close", noted)
    with pytest.raises(SlideError, match="no sense"):
        open_slide(tmp_path / "s.tif")

    assert len(closed) == 1
