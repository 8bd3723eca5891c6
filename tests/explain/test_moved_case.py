"""From files to heat maps, of a patient who lay otherwise in the second session."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import gaussian_filter

from map_readings import upsampled
from model_cases import TINY_VOLUME, tiny_config
from moved_volumes import displaced, displacement
from mri_grids import oriented, volume_on
from napari_harm3.cohort.case import ROLES
from napari_harm3.cohort.table import read_cohort
from napari_harm3.data.config import InputConfig
from napari_harm3.data.dataset import load_item
from napari_harm3.data.prepare import prepared_case
from napari_harm3.explain.gradcam import located_heat_maps
from napari_harm3.inference.predictor import Predictor
from napari_harm3.jobs.explanation import explain
from napari_harm3.jobs.progress import result_of
from napari_harm3.mri.config import MriConfig
from napari_harm3.mri.volume import write_volume
from napari_harm3.training.cross_validation import cross_validate
from napari_harm3.training.run import open_run
from training_cases import (
    cohort_of,
    made_up_item,
    prepared_on_disk,
    tiny_run,
    write_bag,
)

GRID = oriented((0, 1, 2), (-1, -1, 1), shape=(64, 64, 40), spacing=(1.5, 1.5, 1.5))
OBLIQUE = oriented(
    (0, 1, 2), (-1, 1, 1), shape=(64, 62, 34), spacing=(1.7, 1.6, 2.0), tilt=(6, -4, 8)
)
CONFIG = replace(
    tiny_run(epochs=1),
    inputs=InputConfig(
        mri=MriConfig(size=TINY_VOLUME, spacing_mm=(12.0, 5.0, 5.0), register="rigid")
    ),
    model=tiny_config(output_stride=(2, 4, 4)),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a run folder: two tiny networks, taught for an epoch."""
    folder = tmp_path_factory.mktemp("model")
    run, prepared = folder / "run", [prepared_on_disk(folder, n) for n in range(8)]
    open_run(run, CONFIG, resume=False)
    list(cross_validate(cohort_of(prepared), prepared, CONFIG, run, device="cpu"))
    return run


def middle_of(grid):
    return grid.affine @ [*(np.array(grid.shape) - 1) / 2, 1]


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """Return the table of a case whose post volumes are moved, and by how much."""
    rng, folder = np.random.default_rng(7), tmp_path_factory.mktemp("moved")
    x, y, z = np.ogrid[-1:1:64j, -1:1:64j, -1:1:40j]
    body = (x / 0.85) ** 2 + (y / 0.75) ** 2 + (z / 0.9) ** 2 < 1
    texture = gaussian_filter(rng.normal(size=GRID.shape), 3)
    t1 = volume_on(GRID, body * (500 + 150 * texture / texture.std()))
    t2 = volume_on(GRID, body * (900 - 0.002 * (t1.array - 300) ** 2))
    known = displacement(t1, 9, 14, rng)
    # The second session was planned anew: on the moved head, tilted, other voxels.
    affine = OBLIQUE.affine.copy()
    affine[:3, 3] += (known @ middle_of(GRID) - middle_of(OBLIQUE))[:3]
    planned = replace(OBLIQUE, affine=affine)
    for name, pre in (("t1", t1), ("t2", t2)):
        post = displaced(pre, known, rng, grid=planned)
        write_volume(folder / f"{name}_pre.nii.gz", pre.array, pre.affine)
        write_volume(folder / f"{name}_post.nii.gz", post.array, post.affine)
    write_bag(folder / "bag.h5", made_up_item(1).features)
    files = ",".join(f"{role}.nii.gz" for role in ROLES)
    (folder / "cohort.csv").write_text(
        f"case_id,{','.join(ROLES)},wsi\nA,{files},bag.h5\n"
    )
    return folder / "cohort.csv", known


def field(array, affine):
    """Return the values of a grid at world points; NaN outside."""
    axes = [np.arange(n) for n in array.shape]
    read = RegularGridInterpolator(axes, array, bounds_error=False, fill_value=np.nan)
    return lambda points: read((np.linalg.inv(affine) @ points)[:3].T)


def check_within(heat, grid):
    """The map of a file lies in the field of view that is told of it."""
    lit = np.argwhere(heat.get_fdata() > 0)
    to_cells = np.linalg.inv(grid["affine"]) @ heat.affine
    place = lit @ to_cells[:3, :3].T + to_cells[:3, 3]
    first, last = np.array(grid["view"])
    assert len(lit) > 100
    assert ((place >= first - 1e-4) & (place <= last + 1e-4)).all()


def test_heat_maps_lie_where_the_moved_files_show_the_place(model, moved, tmp_path):
    table, known = moved
    predictor, work = Predictor.load(model, "cpu"), tmp_path / "w"

    job = explain(
        model, cohort=table, case="A", out=tmp_path / "e", work=work, device="cpu"
    )
    said = result_of(job)
    maps = said["maps"]

    prepared = prepared_case(read_cohort(table).case("A"), CONFIG.inputs, work)
    affine, batch = load_item(prepared).affine, predictor.batch(prepared)
    folds = [located_heat_maps(predictor.network(n), batch) for n in predictor.folds]
    rng = np.random.default_rng(0)
    indices = np.stack([rng.uniform(0, n - 1, 2000) for n in TINY_VOLUME])
    points = affine @ np.vstack([indices, np.ones(2000)])
    for role in ROLES:
        source, heat = nib.load(table.parent / f"{role}.nii.gz"), nib.load(maps[role])
        assert heat.shape == source.shape
        np.testing.assert_allclose(heat.affine, source.affine, atol=1e-4)
        check_within(heat, said["grids"][role])
        cells = np.mean([fold.maps[role][0] for fold in folds], axis=0)
        centres = folds[0].centres[role]
        common = field(upsampled(cells, TINY_VOLUME, centres), affine)
        in_file = field(heat.get_fdata(), source.affine)
        way = known if role.endswith("post") else np.eye(4)

        def apart(at, move, common=common, in_file=in_file):
            return np.abs(in_file(move @ at) - common(at)) / common(points).max()

        cell = np.unravel_index(cells.argmax(), cells.shape)
        index = np.array(centres.start) + np.array(centres.step) * cell
        hottest = affine @ [*index, 1]
        assert cells.max() > 0
        # A centre is the tip of a tent, which the voxels of a file cut off.
        assert apart(hottest[:, None], way)[0] <= 0.1
        assert np.nanmedian(apart(points, way)) <= 0.02
        if role.endswith("post"):  # by the scanner's coordinates they lie elsewhere
            assert np.nanmedian(apart(points, np.eye(4))) > 0.05
