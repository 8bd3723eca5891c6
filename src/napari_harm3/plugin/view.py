"""``python -m napari_harm3.plugin.view``: napari, opened on a case."""

import argparse
import sys
from pathlib import Path

import napari
from napari.viewer import Viewer
from qtpy.QtCore import QTimer

from napari_harm3.errors import Harm3Error
from napari_harm3.plugin.workspace import Workspace, open_workspace

SETTLE_MS = 1500
"""Textures are uploaded while frames are drawn; a picture waits for a few of them."""

GIVE_UP_MS = 90_000
WINDOW = (1560, 1000)


def main() -> int:
    """Open the window; return 0, or 1 if the cohort or case is not right."""
    arguments = _arguments()
    viewer = napari.Viewer(title="HARM3")
    viewer.window.resize(*WINDOW)
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
        session.case_drawn.connect(
            lambda _: workspace.explain.load(arguments.explanation)
        )
    if arguments.screenshot is not None:
        _picture_when_drawn(viewer, workspace, arguments)
    session.open_case(chosen)
    napari.run()
    session.close()
    return 0


def _picture_when_drawn(
    viewer: Viewer, workspace: Workspace, arguments: argparse.Namespace
) -> None:
    def take() -> None:
        arguments.screenshot.parent.mkdir(parents=True, exist_ok=True)
        viewer.window.screenshot(
            str(arguments.screenshot), canvas_only=False, flash=False
        )
        viewer.close()

    def drawn(_: object) -> None:
        QTimer.singleShot(SETTLE_MS, take)

    if arguments.explanation is None:
        workspace.session.case_drawn.connect(drawn)
    else:
        workspace.explain.drawn.connect(drawn)
    QTimer.singleShot(GIVE_UP_MS, viewer.close)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--case")
    for name in ("--model", "--explanation", "--screenshot", "--work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--allow-external", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
