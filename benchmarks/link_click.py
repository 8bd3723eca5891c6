"""A click on a patch until the frame that shows where it looks, in a real window.

    python benchmarks/link_click.py COHORT CASE EXPLANATION [CLICKS]

needs a screen (or ``xvfb-run``) and an explanation folder with a link. The mouse clicks
on the slide's canvas; the time ends with the first frame of the volumes drawn after the
map's last change. Prints rows for docs/benchmarks.md.
"""

import contextlib
import statistics
import sys
import time
from pathlib import Path

# Importing triton after an OpenGL context exists kills the process.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QPoint, Qt, QTimer
from qtpy.QtTest import QTest

from napari_harm3.plugin.workspace import Workspace, open_workspace

GIVE_UP_SECONDS = 60


def main() -> None:
    cohort, case, folder, *more = sys.argv[1:]
    clicks = int(more[0]) if more else 21
    viewer = napari.Viewer()
    viewer.window.resize(1560, 1000)
    workspace = open_workspace(viewer)
    session, explain = workspace.session, workspace.explain
    session.open_cohort(Path(cohort))
    done: set[str] = set()
    session.case_drawn.connect(lambda _: done.add("case"))
    explain.drawn.connect(lambda _: done.add("maps"))
    explain.link.ready.connect(lambda: done.add("link"))
    session.open_case(case)
    _until(lambda: "case" in done)
    explain.load(Path(folder))
    _until(lambda: {"maps", "link"} <= done)
    _wait(2000)
    explain.link.button.setChecked(True)
    frames: list[float] = []
    viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(
        lambda _: frames.append(time.perf_counter())
    )
    seconds = [_clicked(workspace, frames, number) for number in range(clicks)]
    first, rest = seconds[0], seconds[1:]
    patches = len(explain.link.link.places)
    cells = " x ".join(map(str, explain.link.link.grid))
    print("| patches | cells a volume | first click | median after | slowest after |")
    print("|---|---|---|---|---|")
    print(
        f"| {patches} | {cells} | {first * 1e3:.0f} ms | "
        f"{statistics.median(rest) * 1e3:.0f} ms | {max(rest) * 1e3:.0f} ms |"
    )
    session.close()
    session.slide_view().shutdown()
    viewer.close()


def _clicked(workspace: Workspace, frames: list[float], number: int) -> float:
    """Wall time from the press of the mouse to the frame of the map."""
    box, view = workspace.explain.link, workspace.session.slide_view()
    places, canvas = box.link.places, view._canvas.canvas
    patch = number * 7 % len(places)
    x, y, width, height = places.box(patch)
    across, down = view._pixel
    world = [(x + width / 2) * across, (y + height / 2) * down, 0, 1]
    spot = (canvas.view.transform * canvas.view.scene.transform).map(world)
    here = QPoint(*np.rint(spot[:2]).astype(int).tolist())
    changed: list[float] = []
    note = box.changed.connect(lambda: changed.append(time.perf_counter()))
    frames.clear()
    started = time.perf_counter()
    QTest.mouseClick(canvas.native, Qt.MouseButton.LeftButton, pos=here)
    _until(lambda: bool(changed) and bool(frames) and frames[-1] > changed[-1])
    drawn = min(frame for frame in frames if frame > changed[-1])
    box.changed.disconnect(note)
    _wait(300)
    return drawn - started


def _until(true: object) -> None:
    ends = time.monotonic() + GIVE_UP_SECONDS
    while not true():  # type: ignore[operator]
        if time.monotonic() > ends:
            sys.exit("Gave up: is there a link in the folder, and the patch on screen?")
        _wait(1)


def _wait(milliseconds: int) -> None:
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


if __name__ == "__main__":
    main()
