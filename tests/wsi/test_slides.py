"""From a slide to its bag: exact places, no invented pixels, nothing lost."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tifffile

from drawn_slides import GLASS, PINK, write_tiff
from napari_harm3.errors import ConfigError, FeatureError, SlideError
from napari_harm3.wsi.bags import read_bag
from napari_harm3.wsi.config import EncoderConfig, PatchConfig, TissueConfig
from napari_harm3.wsi.encoder import load_encoder
from napari_harm3.wsi.extraction import extract
from napari_harm3.wsi.layout import lay_out, write_layout
from napari_harm3.wsi.slide import open_slide

TINY = EncoderConfig(name="vit_tiny_patch16_224", depth=1, batch=4)


def biopsy(height=1120, width=1344):
    pixels = np.full((height, width, 3), GLASS, np.uint8)
    pixels[300:800, 350:1000] = PINK
    rng = np.random.default_rng(0)
    pixels[300:800, 350:1000] += rng.integers(0, 25, (500, 650, 1), dtype=np.uint8)
    return pixels


@pytest.fixture
def slide_path(tmp_path):
    return write_tiff(tmp_path / "s.tif", biopsy(), levels=2)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(TINY, "cpu")


def bag_of(path, out, encoder, **options):
    with open_slide(path, **options) as slide:
        for _ in extraction(slide, out, encoder):
            pass
    return read_bag(out)


def extraction(slide, out, encoder):
    return extract(lay_out(slide, TissueConfig(), PatchConfig()), out, encoder)


def test_bare_glass_is_empty_and_no_error(tmp_path, encoder):
    path = write_tiff(tmp_path / "g.tif", np.full((600, 600, 3), GLASS, np.uint8))

    bag = bag_of(path, tmp_path / "g.harm3.h5", encoder)

    assert len(bag.status) == 0
    assert bag.features.shape == (0, 192)


def damaged_copy(source, target):
    """Overwrite the JPEG data of one tile."""
    with tifffile.TiffFile(source) as file:
        page = file.pages[0]
        row = page.imagewidth // 256 + 1
        offset, size = page.dataoffsets[row * 2 + 2], page.databytecounts[row * 2 + 2]
    content = bytearray(source.read_bytes())
    content[offset : offset + size] = b"\0" * size
    target.write_bytes(content)
    return target


def test_a_damaged_tile_marks_its_patches_and_spares_the_others(
    tmp_path, slide_path, encoder
):
    whole = bag_of(slide_path, tmp_path / "w.harm3.h5", encoder)
    broken = damaged_copy(slide_path, tmp_path / "d.tif")

    bag = bag_of(broken, tmp_path / "d.harm3.h5", encoder)

    assert 0 < (bag.status == 1).sum() < len(bag.status)
    assert len(bag.features) == (bag.status == 0).sum()
    kept = [tuple(c) in set(map(tuple, bag.coords)) for c in whole.coords]
    np.testing.assert_allclose(bag.features, whole.features[kept], atol=1e-4)


def test_features_do_not_depend_on_their_batch(encoder):
    patches = np.random.default_rng(0).integers(
        0, 255, (6, 224, 224, 3), dtype=np.uint8
    )
    together = encoder.encode(patches)
    alone = np.concatenate([encoder.encode(patch[None]) for patch in patches])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_an_untrained_encoder_is_the_same_everywhere_and_leaves_the_dice_alone(encoder):
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = load_encoder(TINY, "cpu")

    assert torch.equal(torch.rand(1), expected)
    assert again.weights_sha256 == encoder.weights_sha256
    assert again.untrained


def test_weights_come_from_a_file_or_folder_and_others_are_refused(tmp_path, encoder):
    from dataclasses import replace

    from safetensors.torch import save_file

    state = encoder._network.state_dict()
    save_file({k: v + 1 for k, v in state.items()}, tmp_path / "model.safetensors")
    for weights in (tmp_path, tmp_path / "model.safetensors"):
        loaded = load_encoder(replace(TINY, weights=weights), "cpu")
        assert loaded.weights_sha256 != encoder.weights_sha256
        assert not loaded.untrained
    with pytest.raises(FeatureError, match="does not fit"):
        load_encoder(replace(TINY, depth=2, weights=tmp_path), "cpu")
    with pytest.raises(ConfigError, match="timm cannot make"):
        load_encoder(EncoderConfig(name="no_such_model"), "cpu")


def test_the_file_has_the_promised_layout(tmp_path, slide_path, encoder):
    bag_of(slide_path, tmp_path / "s.harm3.h5", encoder)

    with h5py.File(tmp_path / "s.harm3.h5") as file:
        n = len(file["coords"])
        assert file["coords"].dtype == np.int64
        assert file["features"].chunks == (512, 192)
        assert file["features"].maxshape == (None, 192)
        assert file["features"].fletcher32
        assert file["status"].shape == file["tissue"].shape == (n,)
        assert json.loads(file["geometry"][()])["type"] == "FeatureCollection"
        names = {
            "format",
            "version",
            "slide_name",
            "slide_fingerprint",
            "width",
            "height",
            "mpp_x",
            "mpp_y",
            "mpp_source",
            "patch_px",
            "patch_mpp",
            "patch_level0_px",
            "stride",
            "rule",
            "segmentation",
            "encoder",
            "weights_sha256",
            "transform",
            "reader",
            "created",
        }
        assert names <= set(file.attrs)
        assert file.attrs["rule"] == "corners_any"
        assert file["coords"].attrs["patch_size_level0"] == 224


def datasets(path):
    with h5py.File(path) as file:
        arrays = {name: file[name][()] for name in file}
        about = {k: v for k, v in file.attrs.items() if k != "created"}
    return arrays, about


def same(one, other):
    for name, array in one[0].items():
        np.testing.assert_array_equal(array, other[0][name])
    assert str(one[1]) == str(other[1])


def test_work_cut_short_goes_on_and_ends_the_same(tmp_path, slide_path, encoder):
    bag_of(slide_path, tmp_path / "whole.harm3.h5", encoder)
    out = tmp_path / "cut.harm3.h5"
    with open_slide(slide_path) as slide:
        job = extraction(slide, out, encoder)
        for done, _ in job:
            if done >= 8:
                break
        job.close()
    part = tmp_path / "cut.harm3.h5.part"
    with (part / "features.raw").open("ab") as stream:
        stream.write(b"half a row")  # as a kill between two writes leaves it
    with open_slide(slide_path) as slide:
        resumed = extraction(slide, out, encoder)
        assert next(resumed)[0] == 8
        for _ in resumed:
            pass

    same(datasets(out), datasets(tmp_path / "whole.harm3.h5"))
    assert not part.exists()


def test_a_kill_loses_one_batch_at_most(tmp_path, slide_path, encoder):
    bag_of(slide_path, tmp_path / "whole.harm3.h5", encoder)
    out = tmp_path / "killed.harm3.h5"
    script = (
        "import sys; from pathlib import Path\n"
        "from napari_harm3.wsi.config import *\n"
        "from napari_harm3.wsi.encoder import load_encoder\n"
        "from napari_harm3.wsi.extraction import extract\n"
        "from napari_harm3.wsi.layout import lay_out\n"
        "from napari_harm3.wsi.slide import open_slide\n"
        "e = load_encoder(EncoderConfig(name='vit_tiny_patch16_224', depth=1, batch=1),"
        " 'cpu')\n"
        "slide = open_slide(Path(sys.argv[1]))\n"
        "layout = lay_out(slide, TissueConfig(), PatchConfig())\n"
        "for d, n in extract(layout, Path(sys.argv[2]), e): print(d, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, slide_path, out], stdout=subprocess.PIPE
    )
    for line in process.stdout:
        if int(line) >= 3:
            process.kill()
            break
    process.wait()
    assert not out.exists()
    with open_slide(slide_path) as slide:
        job = extraction(slide, out, encoder)
        assert next(job)[0] >= 2
        for _ in job:
            pass
    same(datasets(out), datasets(tmp_path / "whole.harm3.h5"))


def test_a_damaged_bag_is_refused_and_coordinates_alone_are_no_features(
    tmp_path, slide_path, encoder
):
    out = tmp_path / "s.harm3.h5"
    bag_of(slide_path, out, encoder)
    with h5py.File(out) as file:
        offset = file["features"].id.get_chunk_info(0).byte_offset
    content = bytearray(out.read_bytes())
    content[offset + 100] ^= 1
    out.write_bytes(content)
    with pytest.raises(FeatureError, match="damaged"):
        read_bag(out)

    with open_slide(slide_path) as slide:
        layout = lay_out(slide, TissueConfig(), PatchConfig())
        write_layout(layout, tmp_path / "c.harm3.h5")
    with pytest.raises(FeatureError, match="without features"):
        read_bag(tmp_path / "c.harm3.h5")


def test_real_slides(real_data, tmp_path, encoder):
    bag = bag_of(
        real_data / "wsi" / "CMU-1-Small-Region.svs", tmp_path / "c.harm3.h5", encoder
    )
    assert len(bag.features) > 40
    with pytest.raises(SlideError, match="does not state its resolution"):
        bag_of(
            real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs",
            tmp_path / "t.harm3.h5",
            encoder,
        )
    with open_slide(real_data / "wsi" / "OS-1-detail.ome.tif") as slide:
        assert slide.mpp == pytest.approx((0.2271, 0.2271), abs=1e-4)
