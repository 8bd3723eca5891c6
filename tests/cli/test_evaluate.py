"""``harm3 evaluate`` says of every case whether it was measured."""

import csv
import json
import shutil

import pytest

from napari_harm3.training import run as run_folder


@pytest.fixture
def copied(run, tmp_path):
    """Return a run that had left a case out."""
    copy = shutil.copytree(run, tmp_path / "run")
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["left_out"] = {"HN-0011": "lacks wsi"}
    (copy / "metrics.json").write_text(json.dumps(metrics))
    return copy


def test_a_run_is_measured_again_without_touching_it(harm3, copied):
    before = (copied / "metrics.json").stat()

    code, said, _ = harm3("evaluate", copied)

    assert (code, said["trained_on"], said["failed"]) == (0, "phantom", [])
    assert said["metrics"] == json.loads((copied / "metrics.json").read_text())
    assert said["metrics"]["left_out"] == {"HN-0011": "lacks wsi"}
    after = (copied / "metrics.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_older_metrics_follow_where_that_may_be_written(harm3, copied, monkeypatch):
    metrics = json.loads((copied / "metrics.json").read_text())
    (copied / "metrics.json").write_text(json.dumps(metrics | {"n": 20}))

    def refused(path, _):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "write_json", refused)
        code, said, _ = harm3("evaluate", copied)
    assert (code, said["metrics"]) == (0, metrics)

    harm3("evaluate", copied)
    assert json.loads((copied / "metrics.json").read_text()) == metrics


@pytest.fixture
def elsewhere(harm3, tmp_path):
    """Return the rows of another cohort, and a function that measures them."""
    out = tmp_path / "other"
    harm3("phantom", out, "--cases", "4", "--seed", "99")
    with (out / "cohort.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))

    def measured(run):
        with (out / "cohort.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return harm3("evaluate", run, out / "cohort.csv")

    return out, rows, measured


@pytest.mark.slow
def test_cases_of_another_cohort_are_not_left_out_in_silence(run, elsewhere):
    out, rows, measured = elsewhere
    rows[0] |= {"wsi": "", "wsi_date": ""}
    rows[1]["pcr"] = ""

    code, said, err = measured(run)

    assert (code, said["trained_on"], said["failed"]) == (0, "phantom", [])
    assert said["metrics"]["n"] == 2
    assert said["metrics"]["left_out"] == {
        "HN-0001": "lacks wsi",
        "HN-0002": "has no label",
    }
    assert "harm3: HN-0001 is left out: lacks wsi" in err
    assert "harm3: HN-0002 is left out: has no label" in err

    volume = out / "HN-0003" / "t1_pre.nii.gz"
    volume.write_bytes(volume.read_bytes()[:-40])
    shutil.rmtree(out / ".harm3")
    code, said, err = measured(run)

    assert (code, said["failed"]) == (1, ["HN-0003"])
    assert said["metrics"]["n"] == 1
    assert "HN-0003 is left out: " in err
    assert "t1_pre.nii.gz" in said["metrics"]["left_out"]["HN-0003"]
