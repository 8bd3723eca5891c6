"""What is made already is kept while it is whole and as asked, and only then."""

import shutil

import h5py
import numpy as np
import pytest
from small_slides import ENCODER, content_of, features_job

from napari_harm3.jobs.progress import result_of
from napari_harm3.wsi.bags import read_bag
from napari_harm3.wsi.features import has_features, is_sound, own_attributes


@pytest.mark.parametrize("name", ["d-whole", "c-damaged"])
def test_a_bag_is_not_made_again(harm3, slides, alone, tmp_path, name):
    bag = tmp_path / f"{name}.harm3.h5"
    shutil.copy2(alone / bag.name, bag)
    before = bag.stat()

    _, said, _ = harm3("features", slides / f"{name}.tif", "--out", tmp_path, *ENCODER)

    assert bag.stat().st_mtime_ns == before.st_mtime_ns
    assert bag.stat().st_ino == before.st_ino
    assert said["slides"][0]["damaged"] == read_bag(bag).status.tolist().count(1)
    assert said["slides"][0]["dim"] == 192


@pytest.mark.parametrize("dataset", ["features", "coords", "status", "tissue"])
def test_a_damaged_bag_is_made_again(harm3, slides, alone, tmp_path, dataset):
    bag = tmp_path / "d-whole.harm3.h5"
    shutil.copy2(alone / bag.name, bag)
    with h5py.File(bag) as file:
        place = file[dataset].id.get_chunk_info(0).byte_offset + 3
    content = bytearray(bag.read_bytes())
    content[place] ^= 1
    bag.write_bytes(content)

    code, _, _ = harm3("features", slides / "d-whole.tif", "--out", tmp_path, *ENCODER)

    assert code == 0
    for key, value in content_of(alone / "d-whole.harm3.h5").items():
        np.testing.assert_array_equal(content_of(bag)[key], value)


def test_a_flipped_bit_is_noticed_or_is_no_matter(alone, tmp_path):
    """Also where HDF5 describes the data, which kept no checksum once."""
    made = alone / "d-whole.harm3.h5"
    whole, expected, about = made.read_bytes(), content_of(made), own_attributes(made)
    with h5py.File(made) as file:
        features = file["features"].id.get_chunk_info(0)
    inside = range(features.byte_offset, features.byte_offset + features.size)
    bag, taken = tmp_path / "b.harm3.h5", 0

    for place in set(range(0, len(whole), 29)).difference(inside):
        content = bytearray(whole)
        content[place] ^= 4
        bag.write_bytes(content)
        if own_attributes(bag) == about and has_features(bag) and is_sound(bag):
            found, taken = read_bag(bag), taken + 1
            for name in ("features", "coords", "status"):
                np.testing.assert_array_equal(getattr(found, name), expected[name])

    assert taken > 10


@pytest.mark.parametrize(
    ("changed", "attribute"),
    [
        (("--mpp", 1.0), "patch_mpp"),
        (("--source-mpp", 0.4), "mpp_x"),
        (("--patch", 256), "patch_px"),
        (("--rule", "corners_all"), "rule"),
        (("--preset", "clam"), "segmentation"),
        (("--stain", "macenko"), "stain"),
        (("--stain", "reinhard"), "stain"),
        (("--encoder", "vit_tiny_patch16_224.augreg_in21k"), "encoder"),
    ],
)
def test_what_changes_the_features_makes_the_bag_again(
    harm3, slides, alone, tmp_path, changed, attribute
):
    bag = tmp_path / "d-whole.harm3.h5"
    shutil.copy2(alone / bag.name, bag)
    before = content_of(bag)

    code, _, _ = harm3(
        "features", slides / "d-whole.tif", "--out", tmp_path, *ENCODER, *changed
    )

    after = content_of(bag)
    assert code == 0
    assert str(after[f"@{attribute}"]) != str(before[f"@{attribute}"])
    if attribute == "stain":
        assert own_attributes(bag)["stain"] == changed[1]
        assert after["features"].shape == before["features"].shape
        assert not np.allclose(after["features"], before["features"])


def test_features_are_not_lost_to_an_outline_of_other_settings(
    harm3, slides, alone, tmp_path
):
    slide, bag = slides / "d-whole.tif", tmp_path / "d-whole.harm3.h5"
    shutil.copy2(alone / bag.name, bag)
    before = bag.read_bytes()

    other, said, _ = harm3("tissue", slide, "--out", tmp_path, "--mpp", 1.0)
    same, _, _ = harm3("tissue", slide, "--out", tmp_path)

    assert (other, same) == (1, 0)
    assert "would be lost" in said["slides"][0]["message"]
    assert bag.read_bytes() == before


def test_an_outline_is_not_drawn_again_unless_something_changed(
    harm3, slides, tmp_path
):
    slide = slides / "d-whole.tif"
    made = [tmp_path / f"d-whole.{end}" for end in ("tissue.geojson", "harm3.h5")]

    def stamps(*words):
        assert harm3("tissue", slide, "--out", tmp_path, *words)[0] == 0
        return [path.stat().st_mtime_ns for path in made]

    first = stamps()
    assert stamps() == first
    other = stamps("--preset", "paper")
    assert all(np.greater(other, first))
    made[0].unlink()
    assert all(np.greater(stamps("--preset", "paper"), other))


def test_an_outline_beside_features_is_not_taken_for_theirs(harm3, slides, tmp_path):
    slide, outline = slides / "d-whole.tif", tmp_path / "d-whole.tissue.geojson"
    harm3("tissue", slide, "--out", tmp_path, "--preset", "paper")
    papers = outline.read_text()
    harm3("features", slide, "--out", tmp_path, *ENCODER)

    code, _, _ = harm3("tissue", slide, "--out", tmp_path)

    assert code == 0
    assert outline.read_text() != papers


def test_a_slide_that_another_process_has_finished_is_not_done_again(slides, tmp_path):
    """It was opened ahead, before the other one came."""
    first, second = slides / "c-damaged.tif", slides / "d-whole.tif"
    job = features_job([first, second], tmp_path, batch=4)
    while not (message := next(job)).of or message.step < 8:
        pass
    result_of(features_job([second], tmp_path, batch=4))
    bag = tmp_path / "d-whole.harm3.h5"
    made = bag.stat().st_mtime_ns

    rows = result_of(job)["slides"]

    assert [row["status"] for row in rows] == ["damaged", "done"]
    assert bag.stat().st_mtime_ns == made
