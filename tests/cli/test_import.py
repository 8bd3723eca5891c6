"""``harm3 import``: exit codes, JSON, and a table that the other commands accept."""

import csv
import os
import shutil

import numpy as np
import pytest

from dicom_files import classic_slices, save_series
from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import CohortError
from napari_harm3.mri.volume import write_volume

TEMPLATE = "{id}/{time}/{seq}.nii.gz"


@pytest.fixture
def source(tmp_path):
    """Return a folder of two patients with two volumes each."""
    rng = np.random.default_rng(0)
    for name in ("A/pre/T1", "A/post/T1", "B_1/pre/T2", "B_1/post/T2"):
        array = rng.integers(0, 99, (4, 5, 6)).astype(np.uint8)
        write_volume(tmp_path / "data" / f"{name}.nii.gz", array, np.eye(4))
    return tmp_path / "data"


def test_a_table_beside_its_files_passes_the_check(harm3, source):
    code, said, err = harm3("import", "folders", source, source, "--template", TEMPLATE)

    assert (code, said["cases"]) == (0, 2)
    assert said["cohort"] == str(source / "cohort.csv")
    assert "--allow-external" not in err
    code, said, _ = harm3("check", source / "cohort.csv")
    assert (code, said["faults"]) == (0, [])


def test_files_elsewhere_are_referred_to_and_that_is_said(harm3, source, tmp_path):
    table = tmp_path / "out" / "cohort.csv"

    _, _, err = harm3("import", "folders", source, table.parent, "--template", TEMPLATE)

    assert "4 files lie outside" in err
    assert "--allow-external" in err
    rows = list(csv.DictReader(table.open(newline="")))
    assert rows[0]["t1_pre"] == "../data/A/pre/T1.nii.gz"
    with pytest.raises(CohortError, match="--allow-external"):
        read_cohort(table)
    case = read_cohort(table, allow_external=True).case("B_1")
    assert case.volumes["t2_post"].samefile(source / "B_1/post/T2.nii.gz")


def test_copies_are_whole_and_stay_when_done(harm3, source, tmp_path):
    out = tmp_path / "out"
    words = ("import", "folders", source, out, "--copy", "--template", TEMPLATE)
    harm3(*words)
    copy = out / "A" / "t1_pre.nii.gz"
    first = copy.stat().st_ino
    os.utime(source / "A/pre/T1.nii.gz")
    (out / "A" / "t1_post.nii.gz").write_bytes(b"cut short")

    code, _, _ = harm3(*words, "--overwrite")

    assert code == 0
    assert copy.stat().st_ino == first
    for case in read_cohort(out / "cohort.csv").cases:
        for role, path in case.volumes.items():
            sequence, time = role.split("_")
            original = source / case.case_id / time / f"{sequence.upper()}.nii.gz"
            assert path.read_bytes() == original.read_bytes()


def test_a_table_is_only_replaced_when_asked(harm3, source):
    words = ("import", "folders", source, source, "--template", TEMPLATE)
    harm3(*words)
    table = source / "cohort.csv"
    table.write_text("case_id\nmine\n")

    code, said, err = harm3(*words)

    assert code == 1
    assert "--overwrite" in err
    assert said["error"]["type"] == "CohortError"
    assert table.read_text() == "case_id\nmine\n"
    assert harm3(*words, "--overwrite", "--name", "Ours")[0] == 0
    assert read_cohort(table).name == "Ours"


def test_a_detached_header_is_not_copied_without_its_voxels(harm3, tmp_path):
    header = tmp_path / "data" / "A" / "pre" / "T2.mhd"
    header.parent.mkdir(parents=True)
    header.write_text("ObjectType = Image\n")

    code, said, _ = harm3(
        *("import", "folders", tmp_path / "data", tmp_path / "out"),
        *("--copy", "--template", "{id}/{time}/{seq}.mhd"),
    )

    assert code == 1
    assert "T2.mhd keeps its voxels in another file" in said["error"]["message"]
    assert not (tmp_path / "out" / "cohort.csv").exists()


def test_bids_comes_in(harm3, source, tmp_path):
    for session in ("pre", "post"):
        target = tmp_path / f"bids/sub-01/ses-{session}/anat"
        target.mkdir(parents=True)
        shutil.copy(
            source / f"A/{session}/T1.nii.gz",
            target / f"sub-01_ses-{session}_ce-gd_T1w.nii.gz",
        )

    code, said, _ = harm3("import", "bids", tmp_path / "bids", tmp_path / "bids")

    assert (code, said["cases"]) == (0, 1)
    assert harm3("check", tmp_path / "bids" / "cohort.csv")[0] == 0


def test_nnunet_comes_in_with_channels_named_in_one_word(harm3, source, tmp_path):
    raw = tmp_path / "Dataset001_X"
    (raw / "imagesTr").mkdir(parents=True)
    for number, time in enumerate(("pre", "post")):
        shutil.copy(
            source / f"A/{time}/T1.nii.gz", raw / f"imagesTr/A_{number:04d}.nii.gz"
        )
    (raw / "dataset.json").write_text('{"channel_names": {"0": "x", "1": "y"}}')

    code, said, _ = harm3("import", "nnunet", raw, raw, "--channels", "t1_pre,t1_post")

    assert (code, said["cases"]) == (0, 1)
    case = read_cohort(raw / "cohort.csv").case("A")
    assert case.volumes["t1_post"].name == "A_0001.nii.gz"


def test_dicom_is_proposed_and_then_converted(harm3, real_data, tmp_path):
    source, out = real_data / "dicom", tmp_path / "out"

    code, said, err = harm3("import", "dicom", source, out)

    assert (code, said["cohort"], said["cases"]) == (0, None, 1)
    assert "does not say that contrast agent was given" in err
    code, said, _ = harm3(
        "import", "dicom", source, out, "--proposal", said["proposal"]
    )
    assert (code, said["cohort"]) == (0, str(out / "cohort.csv"))
    code, said, _ = harm3("check", out / "cohort.csv")
    assert (code, said["faults"]) == (0, [])


def test_why_nothing_could_be_accepted_is_told(harm3, tmp_path):
    slices = classic_slices(EchoTime=10.0, RepetitionTime=600.0)
    save_series(tmp_path / "in", slices)

    code, said, err = harm3(
        "import", "dicom", tmp_path / "in", tmp_path / "out", "--accept"
    )

    assert code == 1
    assert "No series of in has a role" in said["error"]["message"]
    assert "P001: series 1 left out: a localiser, 6 slices." in err


@pytest.mark.parametrize("kind", ["dicom", "bids", "nnunet"])
def test_what_is_no_folder_is_refused_in_a_line(harm3, tmp_path, kind):
    code, said, err = harm3("import", kind, tmp_path / "none", tmp_path / "out")
    assert code == 1
    assert "none is no folder" in said["error"]["message"]
    assert str(tmp_path) not in err
