"""Many slides: one row each, and the same files however many processes make them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from dask.distributed import LocalCluster
from small_slides import ENCODER, assert_same_bags, write_slide

from napari_harm3.jobs import parallel
from napari_harm3.jobs.progress import result_of
from napari_harm3.jobs.slide_batch import Work, run_batch, tasks_of
from napari_harm3.wsi.bags import read_bag


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as running:
        yield running


def rows_of(out):
    """Return the rows of a summary, but for the seconds."""
    rows = json.loads((out / "summary.json").read_text())["slides"]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_every_slide_ends_as_exactly_one_row(slides, alone):
    rows = rows_of(alone)

    assert [Path(row["slide"]).name for row in rows] == [
        "a-text.tif",
        "b-glass.tif",
        "c-damaged.tif",
        "d-whole.tif",
    ]
    assert [row["status"] for row in rows] == ["failed", "empty", "damaged", "done"]
    assert [row["damaged"] == 0 for row in rows[1:]] == [True, False, True]
    assert [row["patches"] > 0 for row in rows[1:]] == [False, True, True]
    assert rows[2]["damaged"] < rows[2]["patches"]


def test_files_folders_and_tables_are_rows_in_the_order_of_their_naming(
    harm3, slides, tmp_path
):
    unsaid = write_slide(tmp_path / "unsaid.tif", mpp=None)
    (tmp_path / "given.h5").write_bytes(b"features of another program")
    table = tmp_path / "cohort.csv"
    table.write_text("case_id,wsi,mpp\nA,given.h5,\nB,unsaid.tif,0.25\n")
    whole = shutil.copy(slides / "d-whole.tif", tmp_path / "first.tif")

    code, said, _ = harm3("tissue", whole, slides, table, "--out", tmp_path / "out")

    assert code == 1
    assert (
        said["slides"]
        == json.loads((tmp_path / "out/summary.json").read_text())["slides"]
    )
    assert [Path(row["slide"]).name for row in said["slides"]] == [
        "first.tif",
        "a-text.tif",
        "b-glass.tif",
        "c-damaged.tif",
        "d-whole.tif",
        "unsaid.tif",
    ]
    last = said["slides"][-1]
    assert last["slide"] == str(unsaid)
    assert (last["mpp"], last["mpp_source"]) == ([0.25, 0.25], "stated")


def test_only_what_failed_makes_the_exit_code_one(harm3, slides, tmp_path):
    (slides_that_do := tmp_path / "s").mkdir()
    for path in slides.glob("[bcd]*.tif"):
        shutil.copy(path, slides_that_do)

    code, said, _ = harm3("tissue", slides_that_do, "--out", tmp_path / "out")

    assert code == 0
    assert [row["status"] for row in said["slides"]] == ["empty", "done", "done"]


def test_a_table_of_feature_files_has_no_rows_and_says_why(harm3, tmp_path):
    (tmp_path / "cohort.csv").write_text("case_id,wsi\nA,given.h5\n")

    code, said, err = harm3(
        "features", tmp_path / "cohort.csv", "--out", tmp_path / "out", *ENCODER
    )

    assert (code, said) == (0, {"slides": []})
    assert "No slide is named" in err


def test_a_slide_named_twice_and_a_folder_without_any_are_told(harm3, tmp_path):
    slide = write_slide(tmp_path / "one.tif")
    (tmp_path / "bare").mkdir()

    code, said, _ = harm3(
        "tissue", slide, slide, tmp_path / "bare", "--out", tmp_path / "out"
    )

    assert code == 1
    assert [row["status"] for row in said["slides"]] == ["done", "failed", "failed"]
    assert "one.tif is named twice" in said["slides"][1]["message"]
    assert "bare holds no slides" in said["slides"][2]["message"]


@pytest.mark.slow
def test_several_processes_make_the_same(harm3, slides, alone, tmp_path):
    code, _, _ = harm3("features", slides, "--out", tmp_path, *ENCODER, "--workers", 2)

    assert code == 1
    assert rows_of(tmp_path) == rows_of(alone)
    assert_same_bags(tmp_path, alone)


@pytest.mark.slow
def test_a_cluster_makes_the_same_of_paths_that_begin_here(
    harm3, slides, alone, cluster, tmp_path, monkeypatch
):
    address = cluster.scheduler_address  # its processes began in another folder
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(slides, tmp_path)

    code, _, _ = harm3(
        "features", relative, "--out", "made", *ENCODER, "--scheduler", address
    )

    assert code == 1
    assert rows_of(tmp_path / "made") == rows_of(alone)
    assert_same_bags(tmp_path / "made", alone)


def test_bags_are_written_for_other_programs_too(harm3, slides, alone, tmp_path):
    shutil.copytree(alone, tmp_path, dirs_exist_ok=True)
    words = ("features", slides, "--out", tmp_path, *ENCODER, "--workers", "1")

    code, _, _ = harm3(*words, "--also", "clam", "trident")

    assert code == 1
    read = ("c-damaged", "d-whole")
    made = {*tmp_path.glob("clam/*/*"), *tmp_path.glob("trident/*")}
    assert made == {
        *(tmp_path / "clam" / "h5_files" / f"{name}.h5" for name in read),
        *(tmp_path / "clam" / "pt_files" / f"{name}.pt" for name in read),
        *(tmp_path / "trident" / f"{name}.h5" for name in read),
    }
    for path in made:
        ours = read_bag(alone / f"{path.stem}.harm3.h5")
        assert read_bag(path).features.tobytes() == ours.features.tobytes()
        assert str(slides).encode() not in path.read_bytes()


def test_a_clusters_devices_are_its_own(harm3, slides, cluster, tmp_path, monkeypatch):
    """This machine is asked for none; the cluster's worker, here, has none."""
    slide, address = slides / "d-whole.tif", cluster.scheduler_address
    words = ("features", slide, "--out", tmp_path, *ENCODER, "--scheduler", address)

    code, said, _ = harm3(*words, "--device", "cuda:99")

    assert code == 1
    assert [row["status"] for row in said["slides"]] == ["failed"]
    assert "no 'cuda:99'" in said["slides"][0]["message"]


def test_a_scheduler_that_does_not_answer_is_one_sentence(
    harm3, slides, tmp_path, monkeypatch
):
    monkeypatch.setattr(parallel, "ANSWER_SECONDS", 1)

    code, said, err = harm3(
        "tissue", slides, "--out", tmp_path, "--scheduler", "tcp://127.0.0.1:1"
    )

    assert code == 1
    assert said["error"]["type"] == "ConfigError"
    assert len(err.strip().splitlines()) == 1


def no_work(task):
    return task.slide.name


def no_close(opened):
    pass


def deadly(task, opened):
    """Die of one slide, as a library that crashes does."""
    yield 0, 1
    if opened() == "b-glass.tif":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"status": "done"}


def unpicklable(task, opened):
    """Come back with something that no process can hand to another."""
    yield 0, 1
    return {"status": "done", "message": partial(no_work, sys.stdin)}


def test_a_slide_that_takes_its_process_down_is_one_failed_row(slides, tmp_path):
    work = Work(open=no_work, finish=deadly, close=no_close)

    rows = result_of(
        run_batch("deadly", tasks_of([slides]), work, out=tmp_path, workers=2)
    )["slides"]

    assert [row["status"] for row in rows] == ["done", "failed", "done", "done"]
    assert "b-glass.tif took down the process" in rows[1]["message"]


def test_what_cannot_come_back_is_one_failed_row(slides, tmp_path, caplog):
    work = Work(open=no_work, finish=unpicklable, close=no_close)
    tasks = tasks_of([slides / "d-whole.tif", slides / "b-glass.tif"])

    job = run_batch("work", tasks, work, out=tmp_path, workers=2)

    assert ["unexpected fault" in row["message"] for row in result_of(job)["slides"]]


def test_tissue_needs_no_torch_and_prints_one_json_object(slides, tmp_path):
    (trap := tmp_path / "torch").mkdir()
    (trap / "__init__.py").write_text("raise ImportError('torch was imported')")

    ended = subprocess.run(  # noqa: PLW1510 - one slide fails
        [
            *(sys.executable, "-m", "napari_harm3.cli.main", "tissue", slides),
            *("--out", tmp_path / "out", "--workers", "2", "--json"),
        ],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    rows = json.loads(ended.stdout)["slides"]
    assert ended.returncode == 1
    assert [row["status"] for row in rows] == ["failed", "empty", "done", "done"]
    assert "torch was imported" not in ended.stdout + ended.stderr
