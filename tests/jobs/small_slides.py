"""Slides of a few patches, drawn in a moment, and what is made of them."""

import h5py
import numpy as np
import tifffile

from napari_harm3.jobs.slides import extract_features
from napari_harm3.wsi.config import EncoderConfig, PatchConfig, TissueConfig

ENCODER = ("--encoder", "vit_tiny_patch16_224", "--batch", "4")
"""An encoder that is quick, in batches so small that there are several."""

PATCH = 224
GLASS = (243, 243, 243)
PINK = (205, 125, 175)


def write_slide(path, patches=3, seed=0, mpp=0.5):
    """Write a slide with a square of tissue, ``patches`` x ``patches`` patches large.

    Parameters
    ----------
    path, seed
        The file, and what is drawn in it.
    patches
        Along one side; 0 for bare glass.
    mpp
        What the file says of its resolution; None for nothing.
    """
    side = PATCH * (patches + 2)
    pixels = np.full((side, side, 3), GLASS, np.uint8)
    inner = slice(PATCH, PATCH + PATCH * patches)
    texture = np.random.default_rng(seed).integers(0, 40, (side, side, 1))
    pixels[inner, inner] = (np.array(PINK) + texture)[inner, inner]
    with tifffile.TiffWriter(path) as writer:
        for step in (1, 4):
            stated = {}
            if mpp is not None:
                stated = {
                    "resolution": (1e4 / mpp / step,) * 2,
                    "resolutionunit": "CENTIMETER",
                }
            writer.write(
                pixels[::step, ::step],
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 95},
                subfiletype=int(step > 1),
                metadata=None,
                **stated,
            )
    return path


def damage(path):
    """Overwrite the picture data of one tile in the middle."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        tile = len(page.dataoffsets) // 2
        offset, size = page.dataoffsets[tile], page.databytecounts[tile]
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = bytes(size)
    path.write_bytes(content)
    return path


def content_of(bag):
    """Return datasets and attributes of a bag, but for when it was begun."""
    with h5py.File(bag) as file:
        found = {name: file[name][()] for name in file}
        for name, owner in (("", file), ("coords ", file["coords"])):
            found |= {f"{name}@{key}": value for key, value in owner.attrs.items()}
    del found["@created"]
    return found


def assert_same_bags(one, other):
    names = sorted(path.name for path in one.glob("*.h5"))
    assert names
    assert names == sorted(path.name for path in other.glob("*.h5"))
    for name in names:
        mine, theirs = content_of(one / name), content_of(other / name)
        assert mine.keys() == theirs.keys()
        for key in mine:
            np.testing.assert_array_equal(mine[key], theirs[key], key)


def features_job(slides, out, batch):
    """Return a job that makes bags in this process."""
    return extract_features(
        slides,
        out=out,
        tissue=TissueConfig(),
        patches=PatchConfig(),
        encoder=EncoderConfig(name=ENCODER[1], batch=batch),
        device="cpu",
        workers=1,
    )
