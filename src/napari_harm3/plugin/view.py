"""``python -m napari_harm3.plugin.view``: napari, opened on a case."""

import argparse
import sys
from pathlib import Path

import napari
from napari.viewer import Viewer
from qtpy.QtCore import QTimer

from napari_harm3.errors import Harm3Error
from napari_harm3.plugin.link_layers import place_of
from napari_harm3.plugin.workspace import Workspace, open_workspace

SETTLE_MS = 1500
"""Textures are uploaded while frames are drawn; a picture waits for a few of them."""

GIVE_UP_MS = 90_000
WINDOW = (1560, 1000)


def main() -> int:
    """Open the window; return 0, or 1 if the cohort or case is not right."""
    arguments = _arguments()
    viewer = napari.Viewer(title="HARM3")
    viewer.window.resize(*arguments.size)
    workspace = open_workspace(viewer)
    session = workspace.session
    try:
        session.open_cohort(
            arguments.cohort,
            work=arguments.work,
            allow_external=arguments.allow_external,
        )
        if session.cohort is not None and session.cohort.cases:
            chosen = arguments.case or session.cohort.cases[0].case_id
            session.cohort.case(chosen)
    except Harm3Error as error:
        print(f"harm3: {error}", file=sys.stderr)  # noqa: T201 - the command's one line
        viewer.close()
        return 1
    if arguments.model is not None:
        workspace.explain.model_path.set_path(arguments.model)
        session.model = arguments.model
    if arguments.explanation is not None:
        _load_when_drawn(workspace, arguments.explanation)
        _ask_when_drawn(workspace, arguments)
    if arguments.screenshot is not None:
        _picture_when_drawn(viewer, workspace, arguments)
    session.open_case(chosen)
    napari.run()
    session.close()
    return 0


def _load_when_drawn(workspace: Workspace, folder: Path) -> None:
    """Show an explanation over the first case that hangs, and over no other."""
    session = workspace.session

    def load(_: object) -> None:
        session.case_drawn.disconnect(load)
        workspace.explain.load(folder)

    session.case_drawn.connect(load)


def _ask_when_drawn(workspace: Workspace, arguments: argparse.Namespace) -> None:
    """Click through from a patch or a place, once that can be asked and shown."""
    if arguments.patch is None and arguments.place is None:
        return
    session, box = workspace.session, workspace.explain.link
    waiting = {"maps", "link"}

    def told(what: str) -> None:
        if waiting == {what}:
            box.button.setChecked(True)
            if arguments.patch is not None:
                box.click_slide(*arguments.patch)
            if arguments.place is not None:
                role, *ras = arguments.place
                place = place_of(role, [float(mm) for mm in ras], session.transforms)
                box.ask_place(role, place)
        waiting.discard(what)

    workspace.explain.drawn.connect(lambda _: told("maps"))
    box.ready.connect(lambda: told("link"))


def _picture_when_drawn(
    viewer: Viewer, workspace: Workspace, arguments: argparse.Namespace
) -> None:
    def take() -> None:
        arguments.screenshot.parent.mkdir(parents=True, exist_ok=True)
        viewer.window.screenshot(
            str(arguments.screenshot), canvas_only=False, flash=False
        )
        viewer.close()

    def drawn(*_: object) -> None:
        QTimer.singleShot(SETTLE_MS, take)

    if arguments.patch is not None or arguments.place is not None:
        workspace.explain.link.changed.connect(drawn)
    elif arguments.explanation is not None:
        workspace.explain.drawn.connect(drawn)
    else:
        workspace.session.case_drawn.connect(drawn)
    QTimer.singleShot(GIVE_UP_MS, viewer.close)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--case")
    for name in ("--model", "--explanation", "--screenshot", "--work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=WINDOW)
    parser.add_argument("--patch", type=float, nargs=2, metavar=("X", "Y"))
    parser.add_argument("--place", nargs=4, metavar=("ROLE", "R", "A", "S"))
    parser.add_argument("--allow-external", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
