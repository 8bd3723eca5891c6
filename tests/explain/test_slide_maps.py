"""Maps of patches against what a patch's loss changes, and as files."""

import math
from dataclasses import replace

import numpy as np
import openslide
import pytest
import torch

from map_readings import slide_maps
from model_cases import case_batch
from napari_harm3.cohort.table import read_cohort
from napari_harm3.data.prepare import prepared_case
from napari_harm3.explain.answer import answer
from napari_harm3.explain.case import explain_case
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.explain.patch_places import PatchPlaces
from napari_harm3.explain.slide_export import (
    heat_raster,
    patch_geojson,
    relative,
    write_heat_maps,
)
from napari_harm3.explain.slide_maps import KINDS, top_patches
from napari_harm3.inference.predictor import Predictor
from napari_harm3.models.layers.attention import Tap, tapped
from napari_harm3.models.registry import MODELS, build_model
from napari_harm3.wsi.heat_pyramid import pyramid_of
from napari_harm3.wsi.slide import open_slide

VOLUME, WIDTH = (8, 16, 16), 12
POOLING = (
    *("harm3", "harm3-no-attention-1", "harm3-no-attention-2", "abmil", "clam-sb"),
    *("clam-mb", "dsmil", "hmcat", "m2fusion", "late-fusion"),
)
MPP = 0.5


def network_of(name):
    torch.manual_seed(0)
    return build_model(
        name, MODELS[name].sizes["small"], volume_size=VOLUME, patch_width=WIDTH
    )


def cases(count=2, patches=5):
    return case_batch(count, volume_size=VOLUME, patches=patches, patch_width=WIDTH)


def doubled(batch):
    return replace(batch, mri=batch.mri.double(), wsi=batch.wsi.double())


def places(columns, rows, *, slides=1, side=100.0, margin=50):
    """Return patches that fill slides row by row, with a margin right and below."""
    corners = [(x * side, y * side) for y in range(rows) for x in range(columns)]
    size = [columns * side + margin, rows * side + margin]
    return PatchPlaces(
        names=tuple(f"slide-{n}.svs" for n in range(slides)),
        slide=np.repeat(np.arange(slides), len(corners)),
        corners=np.array(corners * slides),
        sides=np.full((slides, 2), side),
        sizes=np.array([size] * slides),
        mpp=np.full((slides, 2), MPP),
    )


def scaled_logit(network, batch, patch, factor):
    """Return the logit when the attention to one patch is multiplied."""
    calls = []

    def scale(_, __, weights):
        calls.append(weights)
        # HMCAT asks coarser levels by the same attention after the patches.
        if len(calls) > 1:
            return weights
        weights = weights.clone()
        weights[..., patch] *= factor
        return weights

    taps = [m for m in network.modules() if isinstance(m, Tap) and m.kind == "pooling"]
    handles = [tap.register_forward_hook(scale) for tap in taps]
    with torch.no_grad():
        logit = float(network(batch).logit)
    for handle in handles:
        handle.remove()
    return logit


@pytest.mark.parametrize("name", POOLING)
def test_the_gradient_map_is_what_looking_at_a_patch_adds(name: str) -> None:
    network, batch, step, off = network_of(name).eval(), cases(1), 0.1, 0.02
    if name != "hmcat":  # whose group means are float32 whatever it is given
        network, batch, step, off = network.double(), doubled(batch), 1e-5, 1e-4

    _, maps = slide_maps(network, batch)

    slopes = np.array(
        [
            scaled_logit(network, batch, patch, 1 + step)
            - scaled_logit(network, batch, patch, 1 - step)
            for patch in range(5)
        ]
    ) / (2 * step)
    expected = np.maximum(slopes, 0)
    np.testing.assert_allclose(
        maps["gradient_attention"][0], expected, atol=off * np.abs(slopes).max()
    )
    assert np.abs(slopes).max() > 1e-9


@pytest.mark.parametrize("name", ["clam-sb", "harm3"])
def test_the_gradient_map_follows_the_target_as_volumes_do(name: str) -> None:
    network, batch = network_of(name).eval(), cases(1)
    targets = ("pcr", "non-pcr", "contrast")

    found = [answer(network, batch, ExplainConfig(target=one)).slide for one in targets]

    signed = [one.pop("gradient_attention") for one in found]
    pcr, other, contrast = signed
    np.testing.assert_array_equal(contrast, pcr - other)
    assert min(pcr.min(), other.min()) == 0 < other.max()
    for one in found[1:]:  # neither attention nor rollout has a sign
        np.testing.assert_equal(one, found[0])


def test_what_is_against_the_target_has_no_colour_and_no_rank() -> None:
    shares = np.array([-2.0, 1.0, -3.0, 4.0])

    assert relative(shares).tolist() == [0, 0.25, 0, 1]
    assert relative(-np.abs(shares)).tolist() == [0] * 4
    best = top_patches(shares, places(2, 2), kind="gradient_attention")
    assert [row["patch"] for row in best] == [3, 1]


def test_the_gradient_map_of_attention_pooling_in_closed_form() -> None:
    network, batch = network_of("abmil").eval(), cases(1)

    prediction, maps = slide_maps(network, batch)

    hidden = network.project(network.scale(batch.wsi[0])).detach().numpy()
    vote = hidden @ network.classify.weight[0].detach().numpy()
    shares = prediction.attn["pooling"][0, 0].detach().numpy()
    np.testing.assert_allclose(
        maps["gradient_attention"][0], np.maximum(shares * vote, 0), rtol=1e-5
    )


@pytest.mark.parametrize("name", [*POOLING, "transmil"])
def test_every_map_keeps_off_padding_and_leaves_the_network(name: str) -> None:
    network, batch = network_of(name).train(), cases(2)
    padded = replace(
        batch,
        wsi=torch.cat([batch.wsi, torch.full((2, 3, WIDTH), 7.0)], dim=1),
        wsi_mask=torch.cat([batch.wsi_mask, torch.zeros(2, 3).bool()], dim=1),
        wsi_coords=torch.cat([batch.wsi_coords, torch.ones(2, 3, 2)], dim=1),
    )

    _, maps = slide_maps(network, padded)
    _, plain = slide_maps(network, batch)

    assert set(maps) <= set(KINDS)
    assert ("rollout" in maps) == name.startswith(("harm3", "transmil"))
    for kind, one in maps.items():
        assert not one[:, 5:].any()
        np.testing.assert_allclose(one[:, :5], plain[kind], rtol=1e-4, atol=1e-9)
        if kind != "gradient_attention":
            np.testing.assert_allclose(one.sum(axis=1), 1, rtol=1e-5)
    assert network.training
    assert all(weight.grad is None for weight in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("name", ["harm3", "clam-mb", "hmcat"])
def test_cases_are_explained_as_each_alone(name: str) -> None:
    network, batch = network_of(name), cases(2)
    second = replace(
        batch,
        **{
            field: value[1:]
            for field, value in vars(batch).items()
            if isinstance(value, torch.Tensor)
        },
    )

    _, together = slide_maps(network, batch)
    _, alone = slide_maps(network, second)

    for kind, one in alone.items():
        np.testing.assert_allclose(together[kind][1], one[0], rtol=2e-3, atol=1e-9)


@pytest.mark.parametrize("name", ["resnet3d", "harm3-mri", "concat-mlp"])
def test_who_attends_to_no_patch_has_no_map(name: str) -> None:
    assert slide_maps(network_of(name), cases())[1] == {}


def test_a_case_without_a_slide_has_no_map() -> None:
    network, batch = network_of("harm3-x"), cases(1)
    gone = replace(
        batch,
        wsi_mask=torch.zeros_like(batch.wsi_mask),
        wsi_avail=torch.zeros_like(batch.wsi_avail),
    )

    assert slide_maps(network, gone)[1] == {}


def test_hooks_go_even_when_the_network_fails() -> None:
    network = network_of("harm3")
    with pytest.raises(RuntimeError, match="stop"), tapped(network):
        raise RuntimeError("stop")
    assert not any(module._forward_hooks for module in network.modules())


def test_the_highest_patches_say_where_they_lie() -> None:
    shares = np.array([0.1, 0.0, 0.4, 0.1, 0.4, 0.0, 0.0, 0.0])

    rows = top_patches(shares, places(2, 2, slides=2), kind="rollout", count=8)

    assert [row["patch"] for row in rows] == [2, 4, 0, 3]
    assert rows[0] == {
        "map": "rollout",
        "rank": 1,
        "patch": 2,
        "slide": "slide-0.svs",
        "x": 0.0,
        "y": 100.0,
        "width": 100.0,
        "height": 100.0,
        "value": 0.4,
    }
    assert rows[1]["slide"] == "slide-1.svs"
    assert len(top_patches(shares, places(2, 2, slides=2), kind="x", count=1)) == 1


def test_geojson_names_each_map_and_leaves_out_what_has_no_place() -> None:
    two = places(2, 1)
    maps = {"attention": np.array([0.25, 0.75]), "rollout": np.array([0.6, 0.4])}

    found = patch_geojson(two, maps)["features"]
    lost = replace(two, corners=np.array([[np.nan, np.nan], [100.0, 0.0]]))

    measured = found[0]["properties"]["measurements"]
    assert measured == {
        "attention": 0.25,
        "rollout": 0.6,
        "relative": pytest.approx(1 / 3),
    }
    assert found[1]["geometry"]["coordinates"][0][2] == [200, 100]
    assert found[1]["properties"]["color"] == [230, 60, 40]
    assert patch_geojson(lost, maps)["features"] == found[1:]
    assert patch_geojson(two, {})["features"][0]["properties"]["measurements"] == {
        "relative": 0.0
    }


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["block.svs", "block.ome.tif", "block.svs"], ["block", "block-2", "block-3"]),
        (["block.svs", "block-3.svs", "block.tif"], ["block", "block-3", "block-4"]),
        (["block.svs", "block.tif", "block-2.svs"], ["block", "block-2", "block-2-3"]),
        (["b.2.svs", "b.2.tif", "b.3.svs"], ["b.2", "b.2-2", "b.3"]),
    ],
)
def test_slides_that_share_a_name_have_a_file_each(tmp_path, names, stems) -> None:
    grid = replace(places(3, 2, slides=3), names=tuple(names))

    written = write_heat_maps(tmp_path, grid, np.arange(18.0), kind="attention")

    files = [f"{stem}.attention.tif" for stem in stems]
    assert [path.name for path in written] == files
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)


def test_a_pyramid_lies_over_its_slide_in_openslide(tmp_path) -> None:
    grid = places(40, 30, slides=2)
    values = np.random.default_rng(0).random(2 * 1200) + 0.1

    first, second = write_heat_maps(tmp_path, grid, values, kind="attention")

    assert (first.name, second.name) == (
        "slide-0.attention.tif",
        "slide-1.attention.tif",
    )
    with openslide.OpenSlide(second) as slide:
        assert slide.level_count == 3
        scale = 100 / 16
        assert slide.dimensions == (math.ceil(4050 / scale), math.ceil(3050 / scale))
        mpp = float(slide.properties["openslide.mpp-x"])
        assert mpp == pytest.approx(MPP * scale)
        assert slide.dimensions[0] * mpp == pytest.approx(4050 * MPP, abs=mpp)
        pixels = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))
    alpha = np.rint(255 * values[1200:] / values.max())
    for patch in (0, 39, 40, 1199):
        row, column = np.array(divmod(patch, 40)) * 16
        assert (pixels[row : row + 16, column : column + 16, 3] == alpha[patch]).all()
    assert not pixels[480:, :, 3].any()
    assert not pixels[:, 640:, 3].any()


def test_the_plugins_own_reader_opens_it_too(tmp_path) -> None:
    values = np.linspace(0, 1, 1200)

    (path,) = write_heat_maps(tmp_path, places(40, 30), values, kind="rollout")

    with open_slide(path) as slide:
        assert slide.require_mpp() == pytest.approx((3.125, 3.125))
        picture = slide.read(0, 624, 464, 16, 16)
    assert (np.abs(picture.astype(int) - [230, 60, 40]) <= 1).all()


def test_levels_are_means_of_what_has_a_value() -> None:
    heat = np.full((300, 301), np.nan, np.float32)
    heat[0, :3] = 1, 3, 5
    heat[1, 2] = 7
    heat[298, 300] = 9

    levels = pyramid_of(heat)

    assert [level.shape for level in levels] == [(300, 301), (150, 151)]
    assert levels[1][0, :2].tolist() == [2, 6]
    assert levels[1][149, 150] == 9
    assert np.isfinite(levels[1]).sum() == 3


def test_patches_that_overlap_share_their_pixels() -> None:
    two = places(1, 2, margin=0)
    two = replace(two, corners=np.array([[0.0, 0.0], [0.0, 50.0]]))

    heat, scale = heat_raster(two, 0, np.array([1.0, 3.0]))

    assert scale == (6.25, 6.25)
    assert heat[[0, 7, 8, 15, 16, 23], 0].tolist() == [1, 1, 2, 2, 3, 3]
    assert np.isnan(heat[24:]).all()


def test_a_slide_of_unknown_size_and_resolution_is_as_large_as_its_patches(
    tmp_path,
) -> None:
    bare = replace(
        places(3, 2), sizes=np.full((1, 2), np.nan), mpp=np.full((1, 2), np.nan)
    )

    heat, _ = heat_raster(bare, 0, np.arange(6.0))
    (path,) = write_heat_maps(tmp_path, bare, np.arange(6.0), kind="attention")

    assert heat.shape == (32, 48)
    with openslide.OpenSlide(path) as slide:
        assert slide.dimensions == (48, 32)
        assert "openslide.mpp-x" not in slide.properties


def test_a_huge_slide_gets_fewer_pixels_a_patch() -> None:
    wide = replace(places(2, 1), sizes=np.array([[200_000.0, 100_000.0]]))

    heat, scale = heat_raster(wide, 0, np.ones(2))

    assert scale == (25, 25)
    assert heat.shape == (4000, 8000)


def test_files_without_places_have_no_pyramid(tmp_path) -> None:
    nowhere = replace(places(2, 1), corners=np.full((2, 2), np.nan))

    assert write_heat_maps(tmp_path, nowhere, np.ones(2), kind="attention") == []


def test_a_trained_models_maps_lie_on_its_slides(
    run, prepared_cohort, tmp_path
) -> None:
    predictor = Predictor.load(run, "cpu")
    case = read_cohort(prepared_cohort).cases[0]
    prepared = prepared_case(case, predictor.inputs, prepared_cohort.parent / ".harm3")

    found = explain_case(predictor, predictor.inputs_of(prepared)).slide

    assert set(found.maps) == set(KINDS)
    assert all(len(one) == len(found.places) for one in found.maps.values())
    assert found.maps["attention"].sum() == pytest.approx(1, abs=1e-4)
    best = top_patches(found.maps["rollout"], found.places, kind="rollout")[0]
    (path,) = write_heat_maps(tmp_path, found.places, found.maps["rollout"], kind="r")
    with openslide.OpenSlide(path) as slide, open_slide(case.slides[0]) as own:
        level0 = own.width / slide.dimensions[0]
        x = int((best["x"] + best["width"] / 2) / level0)
        y = int((best["y"] + best["height"] / 2) / level0)
        pixel = slide.read_region((x, y), 0, (1, 1))
    assert pixel.getpixel((0, 0)) == (230, 60, 40, 255)
