"""A made-up cohort is written over nothing else, and is whole when it is made again."""

import json

import numpy as np
import pytest

from implant_cases import implanted, write_anatomy, write_lesions
from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import CohortError, VolumeError
from napari_harm3.jobs.cohort import make_phantom
from napari_harm3.jobs.progress import result_of
from napari_harm3.phantom import cohort as drawn_cohort
from napari_harm3.phantom import real_cohort
from napari_harm3.phantom.case_folder import check_own
from napari_harm3.phantom.config import PhantomConfig

CASES = ("HN-0001", "HN-0002")


@pytest.fixture
def drawn(monkeypatch):
    """Return a function that makes a cohort of one case of small volumes."""
    monkeypatch.setattr(drawn_cohort, "draw_slide", lambda *_: np.zeros((8, 8, 3)))
    monkeypatch.setattr(
        drawn_cohort, "write_slide", lambda path, _: path.write_bytes(b"slide")
    )

    def made(out, **options):
        config = PhantomConfig(cases=1, **options)
        return result_of(make_phantom(out, config=config))

    return made


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(out):
    with pytest.raises(CohortError, match="choose another folder") as error:
        check_own(out, name="phantom", cases=CASES)
    return str(error.value)


def test_a_users_own_cohort_is_not_written_over(drawn, tmp_path):
    own = {"cohort.csv": "case_id,pcr\nMINE,1\n", "HN-0001/t1_pre.nii.gz": "mine"}
    (tmp_path / "HN-0001").mkdir()
    for name, text in own.items():
        (tmp_path / name).write_text(text)

    with pytest.raises(CohortError, match=r"cohort\.csv"):
        drawn(tmp_path)

    assert {name: (tmp_path / name).read_text() for name in own} == own


@pytest.mark.parametrize("name", ["cohort.csv", "cohort.json", "truth.csv"])
def test_no_table_of_others_is_lost(tmp_path, name):
    (tmp_path / name).write_text("{}")

    assert name in refused(tmp_path)


def test_no_folder_of_others_is_lost(tmp_path):
    (tmp_path / "HN-0002").mkdir()
    check_own(tmp_path, name="phantom", cases=CASES)  # an empty one
    (tmp_path / "HN-0002" / "t1_pre.nii.gz").write_text("mine")

    assert "HN-0002" in refused(tmp_path)
    check_own(tmp_path, name="phantom", cases=CASES[:1])  # it stays as it is


@pytest.mark.parametrize(
    "about", [{"name": "implanted", "made_up": True}, {"name": "phantom"}, {}]
)
def test_a_cohort_of_another_kind_is_not_written_over(tmp_path, about):
    (tmp_path / "cohort.json").write_text(json.dumps(about))
    (tmp_path / "cohort.csv").write_text("case_id\nIM-0001\n")

    assert "cohort.csv" in refused(tmp_path)


@pytest.mark.parametrize("out", ["file", "file/x"])
def test_no_cohort_lies_in_a_file(drawn, tmp_path, out):
    (tmp_path / "file").write_text("mine")

    with pytest.raises(CohortError, match=r"^file is no folder"):
        drawn(tmp_path / out)


def test_a_cohort_that_was_stopped_goes_on(tmp_path):
    (tmp_path / "HN-0001").mkdir()
    (tmp_path / "HN-0001" / "case.json").write_text("{}")
    (tmp_path / "truth.csv").write_text("case_id\n")  # the table was about to follow

    check_own(tmp_path, name="phantom", cases=CASES)


def test_a_drawn_case_that_lost_files_is_made_again(drawn, tmp_path):
    drawn(tmp_path)
    whole = contents(tmp_path)
    (tmp_path / "HN-0001" / "t1_pre.nii.gz").unlink()
    (tmp_path / "HN-0001" / "t2_pre.nii.gz").write_bytes(b"cut")

    drawn(tmp_path)

    assert contents(tmp_path) == whole


def test_what_an_earlier_case_left_is_not_of_this_one(drawn, tmp_path):
    drawn(tmp_path)
    drawn(tmp_path, missing=1.0)

    (case,) = read_cohort(tmp_path / "cohort.csv").cases
    assert case.missing == ("t2_pre", "t2_post")
    assert (tmp_path / "HN-0001" / "t2_pre.nii.gz").exists()


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    for name, write in (("anatomy", write_anatomy), ("lesions", write_lesions)):
        (folder / name).mkdir()
        write(folder / name)
    return folder


def test_an_implanted_case_that_lost_a_file_is_made_again(
    sources, tmp_path, monkeypatch
):
    out = implanted(tmp_path / "out", sources, cases=1)

    def read(_):
        raise VolumeError("read again")

    monkeypatch.setattr(real_cohort, "_read", read)
    implanted(out, sources, cases=1)  # whole, it is kept
    (out / "IM-0001" / "mask_t2_post.nii.gz").unlink()

    with pytest.raises(VolumeError, match="read again"):
        implanted(out, sources, cases=1)
