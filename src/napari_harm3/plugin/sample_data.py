"""Sample data: one made-up patient, as files on disk."""

from pathlib import Path
from typing import Any

from napari import current_viewer
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from platformdirs import user_cache_path

from napari_harm3.config import to_plain
from napari_harm3.jobs.cohort import make_phantom
from napari_harm3.jobs.progress import result_of
from napari_harm3.phantom.config import PhantomConfig
from napari_harm3.plugin.client import Listener
from napari_harm3.plugin.layers import NO_VOXELS
from napari_harm3.plugin.readers import volume_layers
from napari_harm3.plugin.session import Session

CASES = PhantomConfig(cases=3, seed=7)
FIRST = "HN-0001"
WAITING = f"{CASES.cases} patients are being made up"
PLACEHOLDER = (NO_VOXELS, {"name": WAITING, "visible": False}, "image")
"""A layer until the case hangs: napari takes a sample without any for a fault."""


def phantom_case() -> list[tuple[Any, ...]]:
    """Open a made-up patient: volumes, annotations and biopsy slide."""
    viewer = current_viewer()
    if viewer is None:
        made = result_of(make_phantom(sample_folder(), config=CASES))
        return volume_layers(Path(made["cohort"]).parent / FIRST / "t1_pre.nii.gz")
    viewer.window.add_plugin_dock_widget("napari-harm3", "HARM3 Cases")
    _open_when_made(Session.of(viewer))
    return [PLACEHOLDER]


def _open_when_made(session: Session) -> None:
    """Let the worker make the files, which takes seconds, while the window lives."""

    def opened(made: dict[str, Any]) -> None:
        _remove_placeholder(session.viewer)
        session.open_cohort(Path(made["cohort"]))
        session.open_case(FIRST)

    def failed(message: str) -> None:
        _remove_placeholder(session.viewer)
        if message:  # else another cohort was opened meanwhile
            show_error(message)

    params = {"out": str(sample_folder()), "config": to_plain(CASES)}
    session.client.ask("make_phantom", params, Listener(then=opened, failed=failed))
    show_info(f"{WAITING}; the first opens in a few seconds.")


def _remove_placeholder(viewer: Viewer) -> None:
    for layer in list(viewer.layers):
        if layer.name.startswith(WAITING):  # napari numbers those that share a name
            viewer.layers.remove(layer)


def sample_folder() -> Path:
    """Return where the sample is kept between sessions."""
    return user_cache_path("napari-harm3") / "phantom"
