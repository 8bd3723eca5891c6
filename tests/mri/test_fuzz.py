"""Ten thousand flipped bits and ten thousand made-up headers: the issue's figures."""

import gzip
import re
import struct
import zlib

import numpy as np
import pytest

from itk_files import metaimage, nrrd
from napari_harm3.errors import VolumeError
from napari_harm3.mri.reading import read_geometry, read_volume
from nifti_files import AFFINE, fields_of, nifti

TRIES = 10_000
EXTREMES = {
    "int": (0, 1, -1, 2, 4, 7, 8, 127, 255, 32767, -32768, 2**31 - 1, -(2**31)),
    "float": (0.0, 1.0, -1.0, 1e-30, 1e-5, 0.5, 99.0, 1e6, 1e30, -3e38, np.nan, np.inf),
}


def small(rng):
    """Return a volume of smooth numbers, which packs well, as images do."""
    x, y, z = np.ogrid[:12, :11, :9]
    return (400 + 9 * x + 5 * y * z + rng.integers(0, 9, (12, 11, 9))).astype(np.int16)


@pytest.mark.slow
@pytest.mark.parametrize("level", [1, 9])
def test_every_flipped_bit_that_matters_is_seen(tmp_path, rng, level):
    array = small(rng)
    whole = nifti(array)
    packed = gzip.compress(whole, level, mtime=7)
    path = tmp_path / "v.nii.gz"
    seen = free = 0

    for bit in rng.choice(len(packed) * 8, TRIES // 2, replace=False).tolist():
        damaged = bytearray(packed)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            volume = read_volume(path)
        except VolumeError as error:
            seen += 1
            assert "v.nii.gz" in str(error)
            # A flip in time, level or system alone is no reason to refuse.
            assert not 4 <= bit // 8 < 10
        else:
            free += 1
            np.testing.assert_array_equal(volume.array, array)
            np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
            # The flip left every unpacked byte, and the trailer, as they were.
            unpacked = zlib.decompressobj(-zlib.MAX_WBITS).decompress(damaged[10:])
            assert unpacked == whole
            assert damaged[-8:] == packed[-8:]

    assert seen + free == TRIES // 2
    assert seen > 0.97 * TRIES // 2


def extreme(rng, kind):
    """Return numbers for a field, each an extreme or any bits."""
    count = int(kind[:-1] or 1)
    if kind[-1] == "s":
        return (rng.bytes(count),)
    group = "float" if kind[-1] in "fd" else "int"
    size = struct.calcsize("<" + kind[-1])
    some = [rng.choice(EXTREMES[group]).item() for _ in range(count)]
    if rng.random() < 0.3:
        some = list(struct.unpack("<" + kind, rng.bytes(size * count)))
    low, high = {"B": (0, 255), "h": (-(2**15), 2**15 - 1)}.get(kind[-1], (None, None))
    return tuple(some) if low is None else tuple(np.clip(some, low, high).tolist())


def made_up(rng, content, version):
    """Return a file some of whose fields are replaced, or whose header is noise."""
    size, fields = fields_of(version)
    header = bytearray(content[:size])
    if rng.random() < 0.1:
        start, length = rng.integers(0, size), rng.integers(1, 60)
        noise = rng.bytes(int(min(length, size - start)))
        header[start : start + len(noise)] = noise
        return bytes(header) + content[size:]
    for name in rng.choice(list(fields), rng.integers(1, 4), replace=False):
        place, kind = fields[name]
        old = struct.unpack_from("<" + kind, header, place)
        new = extreme(rng, kind)
        kept = rng.random(len(old)) < (0.7 if len(old) > 1 else 0)
        values = [o if keep else n for o, n, keep in zip(old, new, kept, strict=True)]
        struct.pack_into("<" + kind, header, place, *values)
    return bytes(header) + content[size:]


def assert_usable(volume):
    assert len(volume.shape) == 3
    assert volume.array.shape == volume.shape
    assert np.isfinite(volume.array).all()
    assert np.isfinite(volume.affine).all()
    assert np.linalg.cond(volume.affine[:3, :3]) < 2e4
    assert (volume.spacing_mm >= 0.01).all()
    assert (volume.spacing_mm <= 100).all()


@pytest.mark.slow
def test_no_made_up_header_is_believed_or_breaks_us(tmp_path, rng):
    array = small(rng)[:4, :3, :3]
    wholes = {version: nifti(array, version=version) for version in (1, 2)}
    path = tmp_path / "v.nii"
    accepted = 0

    for number in range(TRIES):
        version = 1 + number % 2
        content = made_up(rng, wholes[version], version)
        path.write_bytes(gzip.compress(content, 1) if number % 3 == 0 else content)
        try:
            volume = read_volume(path)
        except VolumeError as error:
            assert "v.nii" in str(error)
            assert str(tmp_path) not in str(error)
            continue
        accepted += 1
        assert_usable(volume)
        assert read_geometry(path).same_as(volume)

    assert 0 < accepted < TRIES / 2


WORDS = [
    *("0", "-1", "1", "2", "3", "nan", "inf", "-inf", "1e300", "1e-300", "999999999"),
    *("float", "double", "MET_FLOAT", "True", "False", "raw", "gzip", "little", "none"),
    *("LOCAL", "LIST", "../v.x", "v.x", "", "\0", "x" * 5000, "5 4 3 1", "60 1 1"),
    *("(1,0,0)", "(0,0,1) (0,1,0) (1,0,0)", "(nan,0,0) (0,1,0) (0,0,1)"),
    *("0x10", "1 0 0 0 1 0 0 0 1"),
]


def garbled(rng, head, separator):
    """Return the lines of a text header, some of them changed, doubled or lost."""
    lines = head.split(b"\n")
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(lines)))
        key, found, value = lines[place].partition(separator)
        fate = rng.random()
        if fate < 0.6 and found:
            words = re.split(rb"([ ,()]+)", value) if fate < 0.3 else [value]
            words[rng.integers(len(words))] = str(rng.choice(WORDS)).encode()
            lines[place] = key + separator + b"".join(words)
        elif fate < 0.8:
            line = bytearray(lines[place] or b" ")
            line[rng.integers(len(line))] = rng.integers(256)
            lines[place] = bytes(line)
        elif fate < 0.9:
            lines.insert(place, lines[place])
        else:
            del lines[place]
            lines.append(b"")
    return b"\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "separator", "end", "pack"),
    [
        (nrrd, b": ", b"\n\n", gzip.compress),
        (metaimage, b" = ", b"LOCAL\n", zlib.compress),
    ],
)
def test_no_garbled_text_header_is_believed_or_breaks_us(
    tmp_path, rng, make, separator, end, pack
):
    array = rng.integers(0, 99, (5, 4, 3)).astype(np.int16)
    path = tmp_path / "v.x"
    accepted = 0

    for number in range(TRIES // 2):
        content = make(array, pack=pack if number % 2 else None)
        head, found, voxels = content.partition(end)
        path.write_bytes(garbled(rng, head, separator) + found + voxels)
        try:
            volume = read_volume(path)
        except VolumeError as error:
            assert "v.x" in str(error)
            assert str(tmp_path) not in str(error)
            continue
        accepted += 1
        assert_usable(volume)
        assert read_geometry(path).same_as(volume)

    assert 0 < accepted < TRIES / 4
