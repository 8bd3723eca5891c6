"""The window shows of a folder what the command that made it has said, and no more."""

import json
import shutil

import numpy as np
import pytest

from link_folders import write_folder
from napari_harm3.cohort.case import ROLES, Case
from napari_harm3.errors import Harm3Error
from napari_harm3.mri.volume import write_volume
from napari_harm3.plugin.explanation_folder import read_explanation
from napari_harm3.report.explanation_folder import read_result, sizes_of


@pytest.fixture
def case(tmp_path):
    volumes = {role: tmp_path / f"{role}.nii.gz" for role in ROLES}
    for path in volumes.values():
        write_volume(path, np.zeros((2, 2, 2), np.int16), np.eye(4))
    return Case(case_id="HN-1", row=2, volumes=volumes)


@pytest.fixture
def folder(case, tmp_path):
    return write_folder(tmp_path / "maps", case, kinds=("cam", "occlusion"))


def test_a_loaded_explanation_is_the_computed_one(case, folder):
    loaded = read_explanation(folder, case)

    assert loaded == read_result(folder) | {"folder": folder}
    assert set(loaded["maps"]) == set(case.volumes)
    assert set(loaded["also"]) == {"occlusion"}


def test_a_file_that_the_explanation_does_not_name_is_no_map(case, folder):
    shutil.copy(folder / "t1_pre_cam.nii.gz", folder / "t1_pre_edited.nii.gz")

    assert set(read_explanation(folder, case)["also"]) == {"occlusion"}


def test_a_folder_that_lacks_a_map_is_not_finished(case, folder):
    (folder / "t2_post_cam.nii.gz").unlink()

    with pytest.raises(Harm3Error, match="maps is no finished explanation"):
        read_explanation(folder, case)


def test_a_folder_with_a_map_of_another_size_is_not_finished(case, folder):
    about = json.loads((folder / "explanation.json").read_text())
    sizes = sizes_of(folder, about["files"])
    assert "t1_pre_cam.nii.gz" in sizes
    (folder / "explanation.json").write_text(json.dumps(about | {"sizes": sizes}))
    assert "sizes" not in read_explanation(folder, case)

    cut = folder / "t1_pre_cam.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-1])

    with pytest.raises(Harm3Error, match="maps is no finished explanation"):
        read_explanation(folder, case)


@pytest.mark.parametrize("about", ["[]", "{}", '{"files": {}}', "{"])
def test_what_is_no_explanation_is_refused(case, folder, about):
    (folder / "explanation.json").write_text(about)

    with pytest.raises(Harm3Error, match="maps is no finished explanation"):
        read_explanation(folder, case)


def test_the_explanation_of_another_case_is_refused(case, folder):
    about = json.loads((folder / "explanation.json").read_text())
    (folder / "explanation.json").write_text(json.dumps(about | {"case_id": "X"}))

    with pytest.raises(Harm3Error, match="maps explains X: open that case first"):
        read_explanation(folder, case)
