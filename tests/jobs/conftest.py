"""What the tests of whole jobs share."""

import pytest
from small_slides import ENCODER, damage, write_slide

from napari_harm3.cli.main import main


@pytest.fixture(scope="session")
def slides(tmp_path_factory):
    """Return a folder of one slide of each kind, named against their order."""
    folder = tmp_path_factory.mktemp("slides")
    write_slide(folder / "d-whole.tif", patches=2, seed=1)
    damage(write_slide(folder / "c-damaged.tif", patches=3, seed=2))
    write_slide(folder / "b-glass.tif", patches=0)
    (folder / "a-text.tif").write_text("no slide")
    return folder


@pytest.fixture(scope="session")
def alone(slides, tmp_path_factory):
    """Return the folder in which one process has made all bags of the slides."""
    out = tmp_path_factory.mktemp("alone")
    with pytest.raises(SystemExit):
        main(["features", str(slides), "--out", str(out), *ENCODER, "--workers", "1"])
    return out
