"""``python -m napari_harm3.plugin.view``: napari, opened on a case."""

import argparse
import sys
from pathlib import Path

import napari
from napari.viewer import Viewer
from qtpy.QtCore import QTimer

from napari_harm3.cohort.case import Case
from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import Harm3Error
from napari_harm3.plugin.explanation_folder import read_explanation
from napari_harm3.plugin.link_layers import place_of
from napari_harm3.plugin.workspace import Workspace, open_workspace

SETTLE_MS = 1500
"""Textures are uploaded while frames are drawn; a picture waits for a few of them."""

GIVE_UP_MS = 90_000
WINDOW = (1560, 1000)


def main() -> int:
    """Open the window; return 0, or 1 if the cohort or case is not right."""
    arguments = _arguments()
    try:
        case = _case(arguments)
    except Harm3Error as error:
        return _refuse(str(error))
    viewer = napari.Viewer(title="HARM3")
    viewer.window.resize(*arguments.size)
    workspace = open_workspace(viewer)
    session = workspace.session
    session.open_cohort(
        arguments.cohort,
        work=arguments.work,
        allow_external=arguments.allow_external,
    )
    if arguments.model is not None:
        workspace.explain.model_path.set_path(arguments.model)
        session.model = arguments.model
    if arguments.explanation is not None:
        _load_when_drawn(workspace, arguments.explanation)
        _ask_when_drawn(workspace, arguments)
    taken: list[Path] = []
    if arguments.screenshot is not None:
        _picture_when_drawn(viewer, workspace, arguments, taken)
    session.open_case(case.case_id)
    napari.run()
    session.close()
    if arguments.screenshot is not None and not taken:
        return _refuse(
            "no picture was taken: what it was to show was not drawn. Open the case "
            "without --screenshot to see why."
        )
    return 0


def _case(arguments: argparse.Namespace) -> Case:
    """Return the case to open first; no window opens unless all is right.

    Raises
    ------
    Harm3Error
        If the cohort, the case or its explanation is not.
    """
    cohort = read_cohort(arguments.cohort, allow_external=arguments.allow_external)
    case = cohort.case(arguments.case) if arguments.case else cohort.cases[0]
    if arguments.explanation is not None:
        read_explanation(arguments.explanation, case)
    return case


def _refuse(why: str) -> int:
    print(f"harm3: {why}", file=sys.stderr)  # noqa: T201 - the command's one line
    return 1


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
    viewer: Viewer,
    workspace: Workspace,
    arguments: argparse.Namespace,
    taken: list[Path],
) -> None:
    """Save a picture of the window and close it; without one if nothing is drawn."""

    def take() -> None:
        if napari.current_viewer() is None:  # closed meanwhile
            return
        arguments.screenshot.parent.mkdir(parents=True, exist_ok=True)
        viewer.window.screenshot(
            str(arguments.screenshot), canvas_only=False, flash=False
        )
        taken.append(arguments.screenshot)
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
