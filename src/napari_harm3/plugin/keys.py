"""Keys, in one place: shown by F1, chosen to keep off napari's own.

A panel binds its own when it is made, however it was opened.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args
from weakref import ref

from napari.viewer import Viewer
from qtpy.QtWidgets import QWidget

from napari_harm3.jobs.review import Flag, Verdict
from napari_harm3.plugin.widgets.key_sheet import show_keys

STEP = 0.05
AGAIN: Flag = "look again"
CLICK_THROUGH = "Shift-K"

Act = Callable[[Any], object]
Keys = Mapping[str, tuple[str, Act]]
"""Key to what it does, in words and to its panel."""


def _move(slider: object, by: float) -> None:
    slider.setValue(slider.value() + by)  # type: ignore[attr-defined]  # a Qt slider


def _press(row: str, value: str, panel: QWidget) -> None:
    """Press one of a panel's `Toggles`."""
    getattr(panel, row).press(value)


CASES: Keys = {
    "Shift-Down": ("next case", lambda panel: panel.session.step(1)),
    "Shift-Up": ("previous case", lambda panel: panel.session.step(-1)),
    "Shift-B": ("as scanned or aligned", lambda panel: panel.align_button.swap()),
    "Shift-R": (
        "annotations on or off",
        lambda panel: panel.session.hanging.toggle_annotations(),
    ),
}
EXPLAIN: Keys = {
    "Shift-H": (
        "heat maps on or off",
        lambda panel: panel.session.hanging.toggle_heat(),
    ),
    CLICK_THROUGH: (
        "click through between slide and MRI",
        lambda panel: panel.link.toggle(),
    ),
    "Shift-E": ("compute the explanation", lambda panel: panel.compute()),
    "Shift-Escape": ("cancel", lambda panel: panel.cancel()),
    "PageUp": ("higher heat threshold", lambda panel: _move(panel.threshold, STEP)),
    "PageDown": ("lower heat threshold", lambda panel: _move(panel.threshold, -STEP)),
    "Shift-PageUp": ("more opaque heat", lambda panel: _move(panel.opacity, STEP)),
    "Shift-PageDown": ("less opaque heat", lambda panel: _move(panel.opacity, -STEP)),
}
REVIEW: Keys = {
    "Shift-Enter": ("save and next", lambda panel: panel.save_and_next()),
    **{
        f"Alt-{number}": (word, partial(_press, "verdict", word))
        for number, word in enumerate(get_args(Verdict), start=1)
    },
    **{
        f"Control-{grade}": (
            f"confidence {grade}",
            partial(_press, "confidence", grade),
        )
        for grade in "12345"
    },
    "Shift-F": (AGAIN, partial(_press, "flags", AGAIN)),
}


def bind_keys(viewer: Viewer, panel: QWidget, keys: Keys) -> None:
    """Bind a panel's keys, and F1, in place of those of one that was closed."""
    for key, (_, act) in keys.items():
        viewer.bind_key(key, _to(panel, act), overwrite=True)
    viewer.bind_key("F1", _tell, overwrite=True)


def _to(panel: QWidget, act: Act) -> Callable[[Viewer], None]:
    """Return what napari calls; a panel that is closed is not kept alive by it."""
    there = ref(panel)

    def pressed(_: Viewer) -> None:
        living = there()
        if living is not None:
            act(living)

    return pressed


def _tell(viewer: Viewer) -> None:
    panels = {"Cases": CASES, "Explain": EXPLAIN, "Review": REVIEW}
    show_keys(
        viewer.window._qt_window,
        {
            panel: [(key, what) for key, (what, _) in keys.items()]
            for panel, keys in panels.items()
        },
    )
