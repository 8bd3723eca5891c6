"""Slides that may not be read, and results that cannot be written."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from napari_harm3.errors import SlideError
from napari_harm3.wsi.config import PatchConfig, TissueConfig
from napari_harm3.wsi.encoder import load_encoder
from napari_harm3.wsi.extraction import extract
from napari_harm3.wsi.layout import lay_out
from napari_harm3.wsi.slide import open_slide
from slide_files import TINY, assert_told, bag, features, write_dicom_slide, write_slide

NOBODY = 65534


@pytest.mark.parametrize("kind", ["tiff", "dicom"])
def test_a_slide_that_is_replaced_while_it_is_read_is_refused(tmp_path, kind):
    if kind == "tiff":
        path = replaced = write_slide(tmp_path / "a.tif")
    else:
        path = write_dicom_slide(tmp_path / "a.tif")
        replaced = path / "1.dcm"
    encoder = load_encoder(TINY, "cpu")
    with open_slide(path) as slide:
        layout = lay_out(slide, TissueConfig(), PatchConfig())
        job = extract(layout, tmp_path / "a.harm3.h5", encoder)
        next(job)
        other = tmp_path / "other"
        other.write_bytes(replaced.read_bytes())
        other.replace(replaced)

        with pytest.raises(SlideError) as told:
            list(job)

    assert_told(str(told.value), "a.tif was changed while it was read", "", "run again")
    assert not (tmp_path / "a.harm3.h5").exists()


@pytest.fixture
def public():
    """A folder that another user may enter, which those of pytest are not."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def limited(script, *arguments):
    """Run lines in a process of their own and return what it says."""
    begin = (
        "import json, os, resource, sys\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "import napari_harm3.cli.commands\n"
        "import napari_harm3.data.inspection, napari_harm3.wsi.layout\n"
        "from napari_harm3.cli.main import main\n"
        "from slide_files import faults, features, tissue\n"
        "paths = [Path(word) for word in sys.argv[1:]]\n"
    )
    return subprocess.run(
        [sys.executable, "-c", begin + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


AS_NOBODY = f"if os.geteuid() == 0: os.setgid({NOBODY}); os.setuid({NOBODY})\n"


def test_what_may_not_be_read_is_told_and_the_rest_is_done(public):
    write_slide(public / "a.tif")
    write_slide(public / "b.tif").chmod(0)
    (public / "c").mkdir()
    write_slide(public / "c" / "c.tif")
    (public / "c").chmod(0)

    done = limited(
        f"{AS_NOBODY}print(json.dumps([tissue(paths[:3], paths[3]), faults(paths[0],"
        " paths[1], paths[2], paths[2] / 'c.tif')]))",
        *(public / name for name in ("a.tif", "b.tif", "c", "out")),
    )
    (public / "c").chmod(0o700)

    rows, told = json.loads(done.stdout)
    assert [row["status"] for row in rows] == ["done", "failed", "failed"]
    assert told[0] == []
    for name, (fault,) in zip(("b.tif", "c", "c.tif"), told[1:], strict=True):
        assert_told(fault, f"{name} may not be read", "", "change its rights")
    assert [[row["message"]] for row in rows[1:]] == told[1:3]


def test_a_folder_that_may_not_be_written_to_is_one_line(public):
    write_slide(public / "a.tif")
    (public / "out").mkdir()
    (public / "out").chmod(0o555)

    done = limited(
        f"{AS_NOBODY}main(['tissue', sys.argv[1], '--out', sys.argv[2]])",
        *(public / name for name in ("a.tif", "out")),
    )

    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((public / "out").iterdir())


@pytest.mark.parametrize("most", [2000, 12_000])
def test_a_full_disk_fails_the_slide_and_the_next_run_goes_on(tmp_path, most):
    path = write_slide(tmp_path / "a.tif")

    # The features cannot be written; or they can, and the bag cannot.
    done = limited(
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))\n"
        "print(json.dumps(features(paths[:1], paths[1])))",
        path,
        tmp_path / "out",
    )
    (full,) = json.loads(done.stdout)
    assert not (tmp_path / "out" / "a.harm3.h5").exists()
    (again,) = features([path], tmp_path / "out")

    assert full["status"] == "failed"
    assert "File too large: free some space." in full["message"]
    assert again["status"] == "done"
    assert (bag(tmp_path / "out", "a")["status"] == 0).all()
