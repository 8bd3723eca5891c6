"""A volume is told by its content, never by its name."""

import gzip
import os

import numpy as np
import pytest
import SimpleITK

from napari_harm3.errors import VolumeError
from napari_harm3.mri.reading import kind_of, read_geometry, read_volume
from nifti_files import AFFINE, nifti


@pytest.fixture
def array(rng):
    return rng.integers(0, 120, (5, 4, 3)).astype(np.int16)


def itk_image(array):
    """Return the same volume as ITK has it: left, back, up, and axes reversed."""
    lps = np.diag([-1, -1, 1, 1]) @ AFFINE
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(array.T)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("NIfTI", ".nii"), ("NRRD", ".nrrd"), ("MetaImage", ".mha")],
)
@pytest.mark.parametrize("name", ["v.nii.gz", "v.nrrd", "volume", "v.dcm"])
def test_any_name_will_do(tmp_path, array, kind, suffix, name):
    if kind == "NIfTI":
        (tmp_path / name).write_bytes(gzip.compress(nifti(array)))
    else:
        written = tmp_path / f"written{suffix}"
        SimpleITK.WriteImage(itk_image(array), written, useCompression=True)
        written.rename(tmp_path / name)

    volume = read_volume(tmp_path / name)

    assert kind_of(tmp_path / name) == kind
    assert volume.name == name
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
    assert read_geometry(tmp_path / name).same_as(volume)


def test_a_dicom_series_is_read_from_its_folder_or_a_folder_above(real_data):
    folder = real_data / "dicom" / "VS-SEG-001_T1c"

    volume = read_volume(folder)

    assert kind_of(folder) == kind_of(folder / "1-001.dcm") == "DICOM"
    assert sorted(volume.shape) == [64, 512, 512]
    assert read_geometry(folder).same_as(volume)


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"case_id,pcr\n", b"\x89PNG\r\n\x1a\n", bytes(4096)]
)
def test_what_is_no_volume_is_told_what_is_read(tmp_path, content):
    path = tmp_path / "v.nii"
    path.write_bytes(content)
    for read in (read_volume, read_geometry):
        with pytest.raises(VolumeError, match=r"v\.nii is no volume.*NRRD.*DICOM"):
            read(path)


def test_a_folder_without_dicom_is_told_what_is_read(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(VolumeError, match="holds no DICOM file"):
        read_volume(tmp_path)


def test_a_packed_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "v.nii.gz"
    path.write_bytes(gzip.compress(b"case_id,pcr\n"))
    with pytest.raises(VolumeError, match=r"v\.nii\.gz is no volume"):
        read_volume(path)


def test_a_path_to_nothing_or_to_a_pipe_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii")
    with pytest.raises(VolumeError, match=r"none\.nii does not exist"):
        read_volume(tmp_path / "none.nii")
    with pytest.raises(VolumeError, match=r"pipe\.nii is no file"):
        read_volume(tmp_path / "pipe.nii")


def test_a_volume_hashes_its_file(tmp_path, array):
    from hashlib import sha256

    path = tmp_path / "v.nii.gz"
    path.write_bytes(gzip.compress(nifti(array)))
    assert read_volume(path).sha256 == sha256(path.read_bytes()).hexdigest()
