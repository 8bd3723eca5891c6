"""Sample data: one made-up patient, as files on disk."""

from pathlib import Path
from typing import Any

from napari import current_viewer
from platformdirs import user_cache_path

from napari_harm3.jobs.cohort import make_phantom
from napari_harm3.jobs.progress import result_of
from napari_harm3.phantom.config import PhantomConfig
from napari_harm3.plugin.readers import NOTHING, _volume
from napari_harm3.plugin.session import Session

CASES = PhantomConfig(cases=3, seed=7)


def phantom_case() -> list[tuple[Any, ...]]:
    """Open a made-up patient: volumes, annotations and biopsy slide."""
    made = result_of(make_phantom(sample_folder(), config=CASES))
    table = Path(made["cohort"])
    viewer = current_viewer()
    if viewer is None:
        return _volume(table.parent / "HN-0001" / "t1_pre.nii.gz")
    viewer.window.add_plugin_dock_widget("napari-harm3", "HARM3 Cases")
    session = Session.of(viewer)
    session.open_cohort(table)
    session.open_case("HN-0001")
    return NOTHING


def sample_folder() -> Path:
    """Return where the sample is kept between sessions."""
    return user_cache_path("napari-harm3") / "phantom"
