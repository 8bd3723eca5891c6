"""Bags of CLAM and TRIDENT: bit for bit there and back, and nothing unsafe opened."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from napari_harm3.errors import FeatureError
from napari_harm3.wsi import features as own
from napari_harm3.wsi.bags import read_bag
from napari_harm3.wsi.interchange import (
    ForeignBag,
    read_foreign,
    write_also,
    write_clam,
    write_trident,
)
from napari_harm3.wsi.patches import Patches

ROWS, DIM = 7, 5
WRITERS = {"clam": write_clam, "trident": write_trident}
CLAM = {
    "patch_size": 256,
    "patch_level": 1,
    "downsample": np.array([4.000123, 4.000456]),
    "level_dim": np.array([5120, 4096]),
    "name": "slide-ü",
}
TRIDENT = {
    "patch_size": 512,
    "patch_size_level0": 1024,
    "level0_magnification": 40,
    "target_magnification": 20,
    "overlap": 0,
    "name": "slide",
    "level0_width": 81920,
    "level0_height": 65536,
    "mpp": 0.2527,
}


def rows(dtype="float32"):
    """Return features whose bits are easily lost: subnormal, negative zero, extreme."""
    features = np.random.default_rng(0).normal(size=(ROWS, DIM)).astype(dtype)
    limits = np.finfo(dtype)
    features[0, :4] = -0.0, limits.smallest_subnormal, limits.max, limits.min
    return features


def places(dtype="int64"):
    return np.arange(2 * ROWS, dtype=dtype).reshape(ROWS, 2) * 256


def write(path, features=None, coords=None, attributes=None):
    """Write a file as the two programs do, row by row."""
    features = rows() if features is None else features
    coords = places() if coords is None else coords
    with h5py.File(path, "w") as file:
        for name, data in (("features", features), ("coords", coords)):
            options = {}
            if data.ndim > 1 and data.shape[1]:
                maxshape = (None, *data.shape[1:])
                options = {"chunks": (1, *data.shape[1:]), "maxshape": maxshape}
            file.create_dataset(name, data=data, **options)
        file["coords"].attrs.update(attributes or {})
    return path


def bag(**changes):
    sound = ForeignBag(features=rows(), coords=places(), attributes={"patch_size": 9})
    return replace(sound, **changes)


def assert_same_bits(left, right):
    assert left.dtype == right.dtype
    assert left.shape == right.shape
    assert left.tobytes() == right.tobytes()


def assert_same_attributes(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert type(left[name]) is type(right[name])
        assert np.asarray(left[name]).dtype == np.asarray(right[name]).dtype
        np.testing.assert_array_equal(left[name], right[name])


def assert_refused(path, *words):
    """The one sentence names the file, says what is wrong, and names no folder."""
    with pytest.raises(FeatureError) as caught:
        read_foreign(path)
    assert_one_sentence(str(caught.value), path, *words)


def assert_one_sentence(text, path, *words):
    assert text.startswith(path.name)
    assert all(word in text for word in words)
    assert str(path.parent) not in text
    assert text.endswith(".")
    assert ": " in text
    assert "\n" not in text


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(
    ("writer", "attributes"), [("clam", CLAM), ("trident", TRIDENT)]
)
def test_hdf5_comes_back_bit_for_bit(tmp_path, writer, attributes, dtype):
    source = write(tmp_path / "a.h5", rows(dtype), attributes=attributes)
    copy = tmp_path / "b.h5"

    WRITERS[writer](copy, read_foreign(source))

    with h5py.File(source) as before, h5py.File(copy) as after:
        for name in ("features", "coords"):
            assert_same_bits(before[name][()], after[name][()])
        assert_same_attributes(before["coords"].attrs, after["coords"].attrs)


def test_a_bag_holds_plain_attributes(tmp_path):
    found = read_foreign(write(tmp_path / "a.h5", attributes=CLAM))

    assert found.attributes == {
        "patch_size": 256,
        "patch_level": 1,
        "downsample": [4.000123, 4.000456],
        "level_dim": [5120, 4096],
        "name": "slide-ü",
    }
    assert type(found.attributes["patch_size"]) is int


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    "folder",
    [
        {"save_path": "results/patches"},
        {"savetodir": "results/patches"},
        {"wsi": "/results/patches/s.svs"},
        {"wsi": r"C:\results\patches\s.svs"},
        {"wsi": np.bytes_(b"/results/patches/s.svs")},
    ],
)
def test_folders_are_neither_kept_nor_written(tmp_path, writer, folder):
    source = write(tmp_path / "a.h5", attributes=folder | {"patch_size": 9})
    found = read_foreign(source)

    WRITERS[writer](tmp_path / "b.h5", found)
    WRITERS[writer](tmp_path / "c.h5", bag(attributes=folder | {"patch_size": 9}))

    assert found.attributes == {"patch_size": 9}
    for name in ("b.h5", "c.h5"):
        assert read_foreign(tmp_path / name).attributes == {"patch_size": 9}
        written = (tmp_path / name).read_bytes()
        assert b"results" not in written
        assert next(iter(folder)).encode() not in written


def test_trident_batch_of_one_is_unpacked(tmp_path):
    found = read_foreign(write(tmp_path / "a.h5", rows()[np.newaxis]))

    assert_same_bits(found.features, rows())


def test_trident_is_written_in_chunks_of_one_patch(tmp_path):
    write_trident(tmp_path / "a.h5", bag())

    with h5py.File(tmp_path / "a.h5") as file:
        assert file["features"].chunks == (1, DIM)
        assert file["features"].maxshape == (None, DIM)
        assert file["features"].fletcher32


@pytest.mark.parametrize("writer", WRITERS)
def test_a_slide_without_patches_comes_back(tmp_path, writer):
    nothing = bag(features=rows()[:0], coords=places()[:0])

    WRITERS[writer](tmp_path / "a.h5", nothing)

    found = read_foreign(tmp_path / "a.h5")
    assert found.features.shape == (0, DIM)
    assert found.coords.shape == (0, 2)


@pytest.mark.parametrize("dtype", ["int32", "uint16"])
def test_narrow_coordinates_keep_their_values(tmp_path, dtype):
    found = read_foreign(write(tmp_path / "a.h5", coords=places(dtype)))

    assert_same_bits(found.coords, places())


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("modern", [True, False])
def test_tensor_comes_back_bit_for_bit(tmp_path, dtype, modern):
    source, copy = tmp_path / "a.pt", tmp_path / "b.pt"
    torch.save(
        torch.from_numpy(rows(dtype)), source, _use_new_zipfile_serialization=modern
    )

    found = read_foreign(source)
    write_clam(copy, found)

    assert found.coords is None
    assert found.attributes == {}
    assert_same_bits(found.features, rows(dtype))
    tensor = torch.load(copy, weights_only=True)
    assert type(tensor) is torch.Tensor
    assert_same_bits(tensor.numpy(), rows(dtype))


def test_equal_tensors_are_equal_files(tmp_path):
    strided = np.asfortranarray(rows())
    strided.flags.writeable = False

    write_clam(tmp_path / "a.pt", bag())
    write_clam(tmp_path / "b.pt", bag(features=strided))

    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_content_decides_and_not_the_name(tmp_path):
    write(tmp_path / "a.pt")
    torch.save(torch.from_numpy(rows()), tmp_path / "b.h5")

    assert read_foreign(tmp_path / "a.pt").coords is not None
    assert read_foreign(tmp_path / "b.h5").coords is None


def test_our_own_bag_is_none_of_theirs(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file.attrs["format"] = own.FORMAT

    assert_refused(path, "this program")


@pytest.mark.parametrize("key", ["features", "coords"])
@pytest.mark.parametrize("kind", ["soft", "external", "dangling", "virtual", "raw"])
def test_links_are_refused(tmp_path, key, kind):
    path, other = write(tmp_path / "a.h5"), write(tmp_path / "other.h5")
    with h5py.File(path, "a") as file:
        data = file[key][()]
        del file[key]
        if kind == "soft":
            file["elsewhere"] = data
            file[key] = h5py.SoftLink("/elsewhere")
        elif kind == "external":
            file[key] = h5py.ExternalLink(str(other), key)
        elif kind == "dangling":
            file[key] = h5py.ExternalLink(str(tmp_path / "gone.h5"), key)
        elif kind == "virtual":
            layout = h5py.VirtualLayout(data.shape, data.dtype)
            layout[:] = h5py.VirtualSource(str(other), key, data.shape)
            file.create_virtual_dataset(key, layout)
        else:
            (tmp_path / "raw").write_bytes(data.tobytes())
            raw = [(str(tmp_path / "raw"), 0, data.nbytes)]
            file.create_dataset(key, data.shape, data.dtype, external=raw)

    assert_refused(path, "links", key)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_a_link_points_to_is_not_opened(tmp_path):
    path = write(tmp_path / "a.h5")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with h5py.File(path, "a") as file:
        del file["features"]
        file["features"] = h5py.ExternalLink(str(pipe), "features")

    assert_refused(path, "links")  # opening the pipe would wait for ever


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_features_that_are_no_numbers_are_refused(tmp_path, value, dtype):
    features = rows(dtype)
    features[3, 2] = value
    torch.save(torch.from_numpy(features), tmp_path / "a.pt")

    assert_refused(write(tmp_path / "a.h5", features), "NaN")
    assert_refused(tmp_path / "a.pt", "NaN")


@pytest.mark.parametrize(
    "shape", [(), (DIM,), (ROWS, 0), (2, ROWS, DIM), (1, 1, ROWS, DIM)]
)
def test_features_of_another_shape_are_refused(tmp_path, shape):
    features = np.zeros(shape, np.float32)
    torch.save(torch.from_numpy(features), tmp_path / "a.pt")

    assert_refused(write(tmp_path / "a.h5", features), "shape")
    assert_refused(tmp_path / "a.pt", "shape")


@pytest.mark.parametrize("dtype", ["float64", "int32", "S4"])
def test_features_of_another_type_are_refused(tmp_path, dtype):
    path = write(tmp_path / "a.h5", np.zeros((ROWS, DIM), dtype))

    assert_refused(path, "type", "float32")


@pytest.mark.parametrize("number", [ROWS - 1, ROWS + 1, 0])
def test_other_number_of_coordinates_is_refused(tmp_path, number):
    path = write(tmp_path / "a.h5", coords=np.zeros((number, 2), int))

    assert_refused(path, str(number), str(ROWS))


@pytest.mark.parametrize("shape", [(), (ROWS,), (ROWS, 3), (1, ROWS, 2)])
def test_coordinates_of_another_shape_are_refused(tmp_path, shape):
    assert_refused(write(tmp_path / "a.h5", coords=np.zeros(shape, int)), "shape")


@pytest.mark.parametrize("dtype", ["float32", "uint64", "bool"])
def test_coordinates_that_are_no_integers_are_refused(tmp_path, dtype):
    assert_refused(write(tmp_path / "a.h5", coords=places().astype(dtype)), "int64")


@pytest.mark.parametrize("key", ["features", "coords"])
@pytest.mark.parametrize("instead", ["nothing", "group", "empty"])
def test_a_missing_dataset_is_refused(tmp_path, key, instead):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file[key]
        if instead == "group":
            file.create_group(key)
        elif instead == "empty":
            file[key] = h5py.Empty("f4")

    assert_refused(path)


@pytest.mark.parametrize("chunks", [None, (1, DIM)])
def test_rows_that_were_never_written_are_not_zeros(tmp_path, chunks):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["features"]
        unfinished = file.create_dataset("features", (ROWS, DIM), "f4", chunks=chunks)
        if chunks:
            unfinished[: ROWS - 1] = 1

    assert_refused(path, "not finished")


@pytest.mark.parametrize("name", ["a.h5", "a.pt"])
@pytest.mark.parametrize("kept", [0, 3, 200, 900])
def test_a_cut_file_is_refused(tmp_path, name, kept):
    path = tmp_path / name
    write_clam(path, bag())
    path.write_bytes(path.read_bytes()[:kept])

    assert_refused(path, "damaged")


def test_a_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "a.h5"
    write_clam(path, bag())
    content = path.read_bytes()
    assert content.count(rows().tobytes()) == 1
    at = content.index(rows().tobytes()) + 50
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])

    assert_refused(path, "damaged")


@pytest.mark.parametrize(
    "content", [b"case,slide\n1,a.svs\n", b"PK\x03\x04 no tensor", b"\x80\x02 neither"]
)
@pytest.mark.parametrize("name", ["a.h5", "a.pt"])
def test_a_file_of_another_kind_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)

    assert_refused(tmp_path / name)


def test_no_file_and_a_folder_are_refused(tmp_path):
    (tmp_path / "folder.h5").mkdir()

    assert_refused(tmp_path / "gone.h5", "no file")
    assert_refused(tmp_path / "folder.h5", "no file")


class Trap:
    """Leaves a file behind when unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("name", ["a.pt", "a.h5"])
def test_a_pickled_object_is_refused_and_not_run(tmp_path, name, modern):
    mark = tmp_path / "mark"
    content = {"features": torch.zeros(2, 2), "trap": Trap(mark)}
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=modern)

    assert_refused(tmp_path / name, "not opened")

    assert not mark.exists()
    torch.load(tmp_path / name, weights_only=False)
    assert mark.exists()  # the trap was a real one


def test_a_pickled_array_is_refused(tmp_path):
    torch.save(rows(), tmp_path / "a.pt")

    assert_refused(tmp_path / "a.pt", "not opened")


@pytest.mark.parametrize(
    "content",
    [
        {"features": torch.zeros(2, 2)},
        [torch.zeros(2, 2)],
        torch.zeros(2, 2, dtype=torch.bfloat16),
        torch.zeros(2, 2, dtype=torch.float64),
        torch.eye(2).to_sparse(),
        3.0,
    ],
    ids=["dict", "list", "bfloat16", "float64", "sparse", "number"],
)
def test_anything_but_a_plain_tensor_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")

    assert_refused(tmp_path / "a.pt", "plain tensor")


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    "changes",
    [
        {"features": np.full((ROWS, DIM), np.nan, np.float32)},
        {"features": np.zeros((ROWS, DIM))},
        {"features": rows()[0]},
        {"coords": places()[1:]},
        {"coords": None},
    ],
    ids=["nan", "float64", "shape", "number", "no-coords"],
)
def test_a_refused_bag_leaves_the_old_file_alone(tmp_path, writer, changes):
    path = tmp_path / "a.h5"
    path.write_bytes(b"before")

    with pytest.raises(FeatureError) as caught:
        WRITERS[writer](path, bag(**changes))

    assert_one_sentence(str(caught.value), path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"before")

    with pytest.raises(TypeError):
        write_trident(path, bag(attributes={"name": object()}))

    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_clam_keeps_features_under_two_suffixes(tmp_path):
    path = tmp_path / "a.npy"

    with pytest.raises(FeatureError) as caught:
        write_clam(path, bag())

    assert_one_sentence(str(caught.value), path, ".h5", ".pt")
    assert not path.exists()


def test_reading_hdf5_needs_no_torch(tmp_path):
    path = write(tmp_path / "a.h5")
    script = (
        "import sys; from pathlib import Path; "
        "from napari_harm3.wsi.interchange import read_foreign; "
        "read_foreign(Path(sys.argv[1])); print('torch' in sys.modules)"
    )

    shown = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )

    assert shown.stdout.strip() == "False"


ALSO = {
    "clam": ("clam/h5_files/s.h5", "clam/pt_files/s.pt"),
    "trident": ("trident/s.h5",),
}


def our_bag(path, count=ROWS, damaged=()):
    """Write a bag of a slide of a quarter of a micron, patches of half a micron."""
    status = np.full(count, own.OK, np.uint8)
    status[list(damaged)] = own.DAMAGED
    own.write_bag(
        path,
        Patches(
            coords=places()[:count],
            tissue=np.zeros(count, np.uint8),
            level0_px=(448.2, 447.8),
            size=224,
        ),
        status=status,
        geometry={},
        attributes={
            "format": own.FORMAT,
            "slide_name": "s.svs",
            "width": 5000,
            "height": 4000,
            "mpp_x": 0.24989,
            "mpp_y": 0.25011,
            "patch_px": 224,
            "patch_mpp": 0.5,
            "patch_level0_px": [448.2, 447.8],
        },
        features=rows()[:count],
    )
    return path


@pytest.mark.parametrize("program", ALSO)
def test_what_is_written_for_others_holds_our_bits(tmp_path, program):
    ours = our_bag(tmp_path / "s.harm3.h5", damaged=[2, 5])

    write_also(program, ours, tmp_path / program, "s")

    made = {str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*") if f.is_file()}
    assert made == {"s.harm3.h5", *ALSO[program]}
    readable = [0, 1, 3, 4, 6]
    for name in ALSO[program]:
        found = read_bag(tmp_path / name)
        assert_same_bits(found.features, rows()[readable])
        assert (found.status == own.OK).all()
        if name.endswith(".h5"):
            assert_same_bits(found.coords, places()[readable])
            assert found.attributes["slide_name"] == "s"


@pytest.mark.parametrize(
    ("program", "attributes"),
    [
        (
            "clam",
            {
                "patch_size": 448,
                "patch_level": 0,
                "downsample": [1.0, 1.0],
                "downsampled_level_dim": [5000, 4000],
                "level_dim": [5000, 4000],
                "name": "s",
            },
        ),
        (
            "trident",
            {
                "patch_size": 224,
                "patch_size_level0": 448,
                "level0_magnification": 40,
                "target_magnification": 20,
                "overlap": 0,
                "name": "s",
                "level0_width": 5000,
                "level0_height": 4000,
                "mpp": 0.24989,
            },
        ),
    ],
)
def test_others_find_what_they_look_for(tmp_path, program, attributes):
    write_also(program, our_bag(tmp_path / "s.harm3.h5"), tmp_path / program, "s")

    assert read_foreign(tmp_path / ALSO[program][0]).attributes == attributes


@pytest.mark.parametrize("program", ALSO)
def test_what_is_newer_than_our_bag_is_left_and_what_is_older_is_not(tmp_path, program):
    ours = our_bag(tmp_path / "s.harm3.h5")
    files = [tmp_path / name for name in ALSO[program]]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"before")

    write_also(program, ours, tmp_path / program, "s")
    kept = [file.read_bytes() for file in files]
    for file in files:
        os.utime(file, ns=(0, ours.stat().st_mtime_ns - 1))
    write_also(program, ours, tmp_path / program, "s")

    assert kept == [b"before"] * len(files)
    for file in files:
        assert_same_bits(read_bag(file).features, rows())


@pytest.mark.parametrize("program", ALSO)
def test_a_slide_without_patches_has_no_file_not_even_an_older_one(tmp_path, program):
    files = [tmp_path / name for name in ALSO[program]]
    write_also(program, our_bag(tmp_path / "s.harm3.h5"), tmp_path / program, "s")
    assert all(file.exists() for file in files)

    empty = our_bag(tmp_path / "s.harm3.h5", count=0)
    write_also(program, empty, tmp_path / program, "s")

    assert not any(file.exists() for file in files)
