"""Slides that are sound and unlike the rest: taken as they are, or refused by cause."""

import os

import cv2
import numpy as np
import pytest
import tifffile

from napari_harm3.errors import SlideError
from napari_harm3.jobs.doctor import examine
from napari_harm3.jobs.progress import result_of
from napari_harm3.wsi.bags import read_attributes
from napari_harm3.wsi.folder import slides_in
from napari_harm3.wsi.patch_pixels import read_patch
from napari_harm3.wsi.resolution import ome_mpp, resolution
from napari_harm3.wsi.slide import open_slide
from slide_files import (
    GLASS,
    PINK,
    assert_told,
    bag,
    biopsy,
    features,
    set_tag,
    tissue,
    write_ome,
    write_slide,
    write_svs,
)

ALPHA = {"multiplied in": "assocalpha", "apart": "unassalpha", "unsaid": "unspecified"}


def test_glass_alone_is_empty_and_tissue_alone_is_remarked_on(tmp_path):
    glass = np.full((600, 600, 3), GLASS, np.uint8)
    filled = np.full((600, 600, 3), PINK, np.uint8)
    slides = [
        write_slide(tmp_path / "glass.tif", [glass]),
        write_slide(tmp_path / "filled.tif", [filled]),
    ]

    rows = features(slides, tmp_path)

    assert [row["status"] for row in rows] == ["empty", "done"]
    assert rows[0]["message"] == "No tissue was found."
    assert "Tissue on 100% of the slide is implausible" in rows[1]["message"]
    assert rows[1]["patches"] == 4
    assert len(bag(tmp_path, "glass")["status"]) == 0


@pytest.mark.parametrize("side", [40, 150])
def test_a_slide_smaller_than_a_patch_is_empty_and_no_error(tmp_path, side):
    path = write_slide(tmp_path / "a.tif", [np.full((side, side, 3), PINK, np.uint8)])

    for rows in (tissue([path], tmp_path), features([path], tmp_path)):
        assert [row["status"] for row in rows] == ["empty"]


@pytest.mark.parametrize(
    ("written", "power", "mpp", "note"),
    [
        ("0.25", 40, 0.25, ""),
        ("0,25", 40, 0.25, ""),
        (None, 20, None, ""),
        ("unknown", 20, None, ""),
        ("0", 20, None, "states 0 microns per pixel, which no slide has"),
        ("-0.5", 20, None, "states -0.5 microns per pixel, which no slide has"),
        ("nan", 20, None, "states nan microns per pixel, which no slide has"),
        ("0.025", 40, None, "states 0.025 microns per pixel, which no slide has"),
        ("5.0", 20, 5.0, "states 5 microns per pixel, unusual"),
        ("0.05", 20, 0.05, "states 0.05 microns per pixel, unusual"),
        ("0.25", 4, 0.25, "an objective of 4x, which do not go together"),
    ],
)
def test_a_resolution_is_read_and_doubted(tmp_path, written, power, mpp, note):
    path = write_svs(tmp_path / "a.svs", written, power)

    with open_slide(path) as slide:
        assert slide.mpp == (None if mpp is None else (mpp, mpp))
        assert note in slide.mpp_note
        assert bool(note) == bool(slide.mpp_note)
        if mpp is None:
            with pytest.raises(SlideError) as told:
                slide.require_mpp()
            assert_told(str(told.value), "a.svs", note or "does not state", "'mpp'")
    (report,) = result_of(examine([path]))["files"]
    assert report["faults"] == []
    assert any(note in said for said in report["notes"])
    with open_slide(path, source_mpp=0.5) as slide:
        assert (slide.mpp, slide.mpp_source) == ((0.5, 0.5), "stated")


def test_what_is_odd_about_a_resolution_stands_in_the_row(tmp_path):
    fine = write_svs(tmp_path / "fine.svs", "0.25", 4)
    coarse = write_svs(tmp_path / "coarse.svs", "5.0", 20)

    rows = features([fine, coarse], tmp_path)

    assert [row["status"] for row in rows] == ["done", "failed"]
    assert "do not go together" in rows[0]["message"]
    assert_told(rows[1]["message"], "coarse.svs", "coarser than", "allow up-sampling")


@pytest.mark.parametrize("stated", [0.0, -0.5, float("nan"), 250.0])
def test_a_stated_resolution_that_no_slide_has_is_refused(tmp_path, stated):
    path = write_slide(tmp_path / "a.tif")

    with pytest.raises(SlideError, match="microns per pixel was stated, and slides"):
        open_slide(path, source_mpp=stated)


@pytest.mark.parametrize("value", [(0, 1), (1, 0)])
def test_a_resolution_tag_of_nothing_states_nothing(tmp_path, value):
    path = write_slide(tmp_path / "a.tif")
    set_tag(path, "XResolution", value)

    with open_slide(path) as slide:
        assert slide.mpp is None


def plain(**options):
    """Return a writer of a slide of certain pixels, unlike other slides in one way."""

    def write(path, pixels):
        options.setdefault("compression", "deflate")
        return write_slide(path, [pixels], **options)

    return write


@pytest.mark.parametrize(
    ("write", "pixels", "what", "remedy"),
    [
        (plain(tile=None), biopsy(), "a TIFF in strips", "--tile --pyramid"),
        (plain(photometric="minisblack"), biopsy()[..., 0], "holds grey", "export"),
        (plain(photometric="miniswhite"), biopsy()[..., 0], "holds grey", "export"),
        (plain(), biopsy().astype(np.uint16), "16 bits a sample", "export"),
        (plain(), biopsy().astype(np.float32), "32 bits a sample", "export"),
        (plain(photometric="cielab"), biopsy(), "CIELAB colours", "export"),
        (
            plain(photometric="separated"),
            np.zeros((300, 300, 4), np.uint8),
            "holds CMYK",
            "export",
        ),
        (
            plain(photometric="palette", colormap=np.zeros((3, 256), np.uint16)),
            biopsy()[..., 0],
            "palette colours",
            "export",
        ),
        (
            plain(planarconfig="separate"),
            np.moveaxis(biopsy(), -1, 0).copy(),
            "colours in separate planes",
            "export",
        ),
    ],
)
def test_what_is_no_stained_slide_says_what_it_holds(
    tmp_path, write, pixels, what, remedy
):
    path = write(tmp_path / "a.tif", pixels)

    with pytest.raises(SlideError) as told:
        open_slide(path)

    assert_told(str(told.value), "a.tif", what, remedy)
    assert tissue([path], tmp_path)[0]["message"] == str(told.value)


@pytest.mark.parametrize("kind", ALPHA)
@pytest.mark.parametrize("at", [(0, 0), (300, 200)])
@pytest.mark.parametrize("openslide", [True, False])
def test_what_is_transparent_looks_like_glass(tmp_path, kind, at, openslide):
    x, y = at
    colour = biopsy()
    alpha = np.full(colour.shape[:2], 255, np.uint8)
    alpha[y : y + 50, x : x + 50] = 0
    alpha[y + 50 : y + 60, x : x + 50] = 128
    share = alpha[..., None] / 255
    expected = colour * share + 255 * (1 - share)
    if kind == "apart":
        colour[alpha == 0] = 0
    else:
        colour = np.rint(colour * share).astype(np.uint8)
    path = write_slide(
        tmp_path / "a.tif",
        [np.dstack([colour, alpha])],
        compression="deflate" if openslide else "lzma",
        extrasamples=[ALPHA[kind]],
    )

    with open_slide(path) as slide:
        assert (slide.vendor == "generic-tiff") == openslide
        seen = slide.read(0, 0, 0, slide.width, slide.height)

    assert abs(seen - expected).max() < 2


def test_colours_that_only_openslide_unpacks_are_left_to_it(tmp_path):
    colours = cv2.cvtColor(biopsy(), cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    path = write_slide(
        tmp_path / "a.tif",
        [colours],
        photometric="ycbcr",
        subsampling=(1, 1),
        compression="deflate",
    )

    with open_slide(path) as slide:
        assert slide.reader == "openslide"
        seen = slide.read(0, 0, 0, slide.width, slide.height)

    assert abs(seen.astype(int) - biopsy()).max() < 4


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.svs", "Präparat 玻片 №1.tif"])
def test_a_slide_is_known_by_its_content(tmp_path, name):
    path = write_slide(tmp_path / name)

    (row,) = features([path], tmp_path / "out")

    assert row["status"] == "done"
    assert len(bag(tmp_path / "out", path.stem)["status"]) == row["patches"] == 6


def test_a_path_may_be_long(tmp_path):
    folder = tmp_path.joinpath(*(letter * 200 for letter in "abc"))
    folder.mkdir(parents=True)
    path = write_slide(folder / ("x" * 210 + ".tif"))
    longer = write_slide(folder / ("y" * 250 + ".tif"))

    rows = features([path, longer], folder / "out")

    assert [row["status"] for row in rows] == ["done", "failed"]
    assert rows[1]["message"].endswith("give it a shorter name.")


def test_the_levels_of_an_ome_tiff_are_found_in_its_subifds(tmp_path):
    path = write_ome(tmp_path / "a.ome.tif", biopsy(), levels=3, mpp=0.25)

    with open_slide(path) as slide:
        assert slide.level_dimensions == ((768, 640), (384, 320), (192, 160))
        assert slide.mpp == (0.25, 0.25)
        coarse = slide.read(2, 0, 0, 192, 160)
    np.testing.assert_array_equal(coarse, biopsy()[::4, ::4])


def test_a_cut_ome_tiff_does_not_lose_its_levels_in_silence(tmp_path):
    path = write_ome(tmp_path / "a.ome.tif", biopsy(), levels=3)
    with tifffile.TiffFile(path) as file:
        last = file.pages[0].subifds[-1]
    path.write_bytes(path.read_bytes()[:last])

    with pytest.raises(SlideError) as told:
        open_slide(path)

    assert_told(str(told.value), "a.ome.tif is cut short", "", "Copy it again")


LABEL = np.zeros((90, 70, 3), np.uint8)


@pytest.mark.parametrize("labels", [([LABEL], []), ([], [LABEL])])
def test_a_label_in_an_ome_tiff_is_not_taken_for_the_slide(tmp_path, labels):
    path = write_ome(tmp_path / "a.ome.tif", biopsy(), levels=2, labels=labels)

    with open_slide(path) as slide:
        assert slide.level_dimensions == ((768, 640), (384, 320))
        assert slide.mpp == (0.25, 0.25)
        np.testing.assert_array_equal(slide.read(0, 0, 0, 768, 640), biopsy())


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("ZYXS", (3, 256, 256, 3)),
        ("CYX", (4, 256, 256)),
        ("TZYXS", (2, 2, 256, 256, 3)),
    ],
)
def test_a_stack_is_refused_by_its_axes(tmp_path, axes, shape):
    path = write_ome(tmp_path / "a.ome.tif", np.full(shape, 200, np.uint8), axes=axes)

    with pytest.raises(SlideError) as told:
        open_slide(path)

    assert_told(str(told.value), "a.ome.tif holds " + axes, "", "export a single plane")


def test_an_ome_tiff_over_several_files_is_refused(tmp_path):
    write_ome(tmp_path / "pixels.ome.tif", biopsy())
    about = (
        '<?xml version="1.0"?><OME xmlns='
        '"http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
        'Type="uint8" SizeX="768" SizeY="640" SizeC="3" SizeZ="1" SizeT="1">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0">'
        '<UUID FileName="pixels.ome.tif">urn:uuid:2</UUID></TiffData></Pixels>'
        "</Image></OME>"
    )
    path = write_slide(tmp_path / "a.ome.tif", [biopsy()], description=about)

    with pytest.raises(SlideError) as told:
        open_slide(path)

    assert_told(str(told.value), "a.ome.tif spreads over several files", "", "as one")


def test_levels_need_not_be_whole_factors_apart(tmp_path):
    across, down = np.meshgrid(np.linspace(40, 220, 1080), np.linspace(220, 40, 810))
    ramp = np.dstack([across, down, np.full_like(across, 150)]).astype(np.uint8)
    coarse = cv2.resize(ramp, (400, 300), interpolation=cv2.INTER_AREA)
    path = write_slide(tmp_path / "a.tif", [ramp, coarse], compression="deflate")

    with open_slide(path) as slide:
        assert slide.level_downsamples == pytest.approx((1.0, 2.7))
        patch = read_patch(slide, 270, 135, level0_px=(540, 540), size=200)

    expected = cv2.resize(
        ramp[135:675, 270:810], (200, 200), interpolation=cv2.INTER_AREA
    )
    assert abs(patch.astype(int) - expected).max() <= 2


def test_label_macro_and_thumbnail_of_an_svs_are_no_levels(tmp_path):
    path = write_svs(tmp_path / "a.svs")

    with open_slide(path) as slide:
        assert slide.vendor == "aperio"
        assert slide.level_dimensions == ((768, 640), (192, 160))


def test_a_folder_without_slides_is_a_row_that_failed(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "report.dcm.txt").write_text("no slide")

    (row,) = features([tmp_path / "d"], tmp_path / "out")

    assert row["status"] == "failed"
    assert_told(row["message"], "d holds no slides", "", "give another folder")


PIXELS = '<Pixels SizeX="768" SizeY="640" PhysicalSizeX="{}" PhysicalSizeY="{}"{}/>'


def ome(x="0.25", y="0.25", unit=None):
    """Return OME-XML that states the size of the biopsy's pixels."""
    units = (
        "" if unit is None else "".join(f' PhysicalSize{a}Unit="{unit}"' for a in "XY")
    )
    return f"<OME><Image>{PIXELS.format(x, y, units)}</Image></OME>"


@pytest.mark.parametrize(
    ("xml", "mpp"),
    [
        (ome(), (0.25, 0.25)),
        (ome(unit="\u00b5m"), (0.25, 0.25)),
        (ome(unit="\u03bcm"), (0.25, 0.25)),
        (ome(unit="&#181;m"), (0.25, 0.25)),
        (ome(unit="&#xB5;m"), (0.25, 0.25)),
        (ome(unit="\u00b5m").replace('"', "'"), (0.25, 0.25)),
        (ome(x="250", y="500", unit="nm"), (0.25, 0.5)),
        (ome(unit="furlong"), "not known"),
        (ome(x="fine"), "not known"),
        (ome().replace("PhysicalSizeY", "Other"), "not known"),
        (ome().replace("/></Image>", "></Image>"), "not known"),
        ("<!DOCTYPE OME [<!ENTITY a 'b'>]>" + ome(), "not known"),
        (ome().replace("PhysicalSize", "Other"), None),
        (ome().replace('"768"', '"767"'), None),
    ],
)
def test_ome_says_how_large_pixels_are_or_nobody_does(xml, mpp):
    found = ome_mpp(xml, 768, 640)

    if mpp == "not known":
        assert resolution({"openslide.mpp-x": "0.5"}, own=found, stated=None) == (
            None,
            None,
            "states its resolution in a unit that is not known",
        )
    else:
        assert found == (None if mpp is None else pytest.approx(mpp))


@pytest.mark.parametrize("compression", ["deflate", "lzma"])
@pytest.mark.parametrize(
    ("unit", "mpp"), [("\u03bcm", (0.25, 0.25)), ("furlong", None)]
)
def test_the_tag_of_an_ome_tiff_never_stands_in_for_ome(
    tmp_path, compression, unit, mpp
):
    about = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image '
        'ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" '
        'SizeX="768" SizeY="640" SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="0.25" '
        f'PhysicalSizeXUnit="{unit}" PhysicalSizeY="0.25" PhysicalSizeYUnit="{unit}">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0"/></Pixels>'
        "</Image></OME>"
    )
    path = write_slide(
        tmp_path / "a.ome.tif",
        [biopsy()],
        mpp=0.5,
        compression=compression,
        description=about.encode(),
    )

    with open_slide(path) as slide:
        assert slide.mpp == mpp
        if mpp is None:
            with pytest.raises(SlideError) as told:
                slide.require_mpp()
            assert_told(str(told.value), "a.ome.tif states its resolution in a unit")


@pytest.mark.skipif(os.name == "nt", reason="names are UTF-16 there")
def test_a_name_that_is_no_utf_8_is_written_with_a_mark(tmp_path):
    path = tmp_path / os.fsdecode(b"m\xfcller.tif")
    write_slide(tmp_path / "a.tif").rename(path)

    for rows in (
        tissue([path], tmp_path / "out"),
        features([path], tmp_path / "out", also=("clam", "trident")),
    ):
        assert [row["status"] for row in rows] == ["done"]
    made = tmp_path / "out" / os.fsdecode(b"m\xfcller.harm3.h5")
    assert read_attributes(made)["slide_name"] == "m?ller.tif"
    other = tmp_path / "out" / "trident" / os.fsdecode(b"m\xfcller.h5")
    assert read_attributes(other)["slide_name"] == "m?ller"


def test_links_do_not_multiply_a_folder(tmp_path):
    slides = tmp_path / "slides"
    (slides / "deep").mkdir(parents=True)
    write_slide(slides / "a.tif")
    write_slide(slides / "deep" / "b.tif")
    for name in ("x", "y"):
        (slides / name).symlink_to(".")
        (slides / "deep" / name).symlink_to("..")
    (slides / "z").symlink_to("deep")
    (tmp_path / "link").symlink_to("slides")

    found = slides_in(tmp_path / "link")

    names = [str(path.relative_to(tmp_path / "link")) for path in found]
    assert names == ["a.tif", "deep/b.tif"]
