"""The Slide panel in a real window: opening a slide, and outlines under a slider.

    python benchmarks/slide_window.py SLIDE [SLIDE ...]

needs a screen (or ``xvfb-run``) and prints rows for docs/benchmarks.md.
"""

import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Importing triton after an OpenGL context exists kills the process.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

import napari
from qtpy.QtCore import QEventLoop, QTimer

from napari_harm3.plugin.workspace import Workspace, open_workspace

MOVES = (12, 16, 20, 24, 10, 14, 18, 9, 13, 8)


def main() -> None:
    viewer = napari.Viewer()
    viewer.window.resize(1560, 1000)
    workspace = open_workspace(viewer)
    _wait(1000)
    print("| slide | opened | outline drawn after a move | patches too |")
    print("|---|---|---|---|")
    for path in map(Path, sys.argv[1:]):
        opened = _opened(workspace, path)
        outline, patches = _moved(workspace)
        print(
            f"| {path.name} | {opened * 1e3:.0f} CPU-ms | {outline * 1e3:.0f} ms | "
            f"{patches * 1e3:.0f} ms |",
            flush=True,
        )
    workspace.session.close()
    workspace.session.slide_view().shutdown()
    viewer.close()


def _opened(workspace: Workspace, path: Path) -> float:
    """CPU until the slide's pixels are in their layer; the median of five."""
    seconds = []
    for _ in range(5):
        started = time.process_time()
        workspace.slide.open(path)
        seconds.append(time.process_time() - started)
        _wait(300)
    return statistics.median(seconds)


def _moved(workspace: Workspace) -> tuple[float, float]:
    """Wall time from a slider's move to the frame that shows what came of it."""
    panel, view = workspace.slide, workspace.session.slide_view()
    frames: list[float] = []
    view._canvas.canvas._scene_canvas.events.draw.connect(
        lambda _: frames.append(time.monotonic())
    )
    told: dict[str, float] = {}
    _listen(panel.preview.outlined, told, "outline")
    _listen(panel.preview.found, told, "patches")
    panel.find_tissue()
    _wait(3000)
    outlines, patches = [], []
    for value in MOVES:
        told.clear()
        frames.clear()
        started = time.monotonic()
        panel.tissue.fields["saturation"].value = value
        _wait(1000)
        for what, seconds in (("outline", outlines), ("patches", patches)):
            drawn = min(frame for frame in frames if frame >= told[what])
            seconds.append(drawn - started)
    return statistics.median(outlines), statistics.median(patches)


def _listen(signal: object, told: dict[str, float], what: str) -> None:
    def note(*_: object) -> None:
        told[what] = time.monotonic()

    connect: Callable[[Callable[..., None]], None] = signal.connect  # type: ignore[attr-defined]
    connect(note)


def _wait(milliseconds: int) -> None:
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


if __name__ == "__main__":
    main()
