"""Keys, in one place: shown by F1, chosen to keep off napari's own.

A panel binds its own when it is made, however it was opened. napari hears them over
the images; in a panel, where a table or a field would take them, Qt's shortcuts do.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args
from weakref import ref

from napari.utils.key_bindings import coerce_keybinding
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import (  # type: ignore[attr-defined]  # QShortcut, per binding
    QPlainTextEdit,
    QShortcut,
    QWidget,
)

from napari_harm3.jobs.review import Flag, Verdict
from napari_harm3.plugin.widgets.key_sheet import show_keys

STEP = 0.05
AGAIN: Flag = "look again"
CLICK_THROUGH = "Shift-K"
HELP = "F1"

Act = Callable[[Any], object]
Keys = Mapping[str, tuple[str, Act]]
"""Key to what it does, in words and to its panel."""


def _move(slider: object, by: float) -> None:
    slider.setValue(slider.value() + by)  # type: ignore[attr-defined]  # a Qt slider


def _press(row: str, value: str, panel: QWidget) -> None:
    """Press one of a panel's `Toggles`; of a row of one, that chooses."""
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
PANELS: Mapping[str, Keys] = {"Cases": CASES, "Explain": EXPLAIN, "Review": REVIEW}

QT_NAMES = {"-": "+", "Control": "Ctrl", "Page": "Page ", "Enter": "Return"}
"""What Qt calls a part of a key's name, where that is something else."""

NOT_TYPED = {
    Qt.Key.Key_Return,
    Qt.Key.Key_Enter,
    Qt.Key.Key_Up,
    Qt.Key.Key_Down,
    Qt.Key.Key_PageUp,
    Qt.Key.Key_PageDown,
}
"""Keys above that type no letter, though a text of several lines would take them."""


def bind_keys(viewer: Viewer, panel: QWidget, keys: Keys) -> None:
    """Bind a panel's keys, and F1, in place of those of one that was closed.

    While the focus is in the panel, the keys of every panel that is open work too.
    """
    for key, (_, act) in keys.items():
        viewer.bind_key(key, _to(panel, act), overwrite=True)
    viewer.bind_key(HELP, _tell, overwrite=True)
    for key in (HELP, *(key for keys in PANELS.values() for key in keys)):
        shortcut = QShortcut(panel)
        shortcut.setKeys(_sequences(key))
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(partial(_repeat, viewer, key))
    for text in panel.findChildren(QPlainTextEdit):
        text.installEventFilter(_NotTyped(text))


class _NotTyped(QObject):
    """Leaves our keys to the shortcuts where a text would take them."""

    def eventFilter(  # noqa: N802 - Qt's name
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        if (
            isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.ShortcutOverride
            and event.key() in NOT_TYPED
        ):
            event.ignore()
            return True
        return super().eventFilter(watched, event)


def _sequences(key: str) -> list[QKeySequence]:
    """Return what Qt calls a key; Enter is that of the number pad too."""
    name = key
    for ours, theirs in QT_NAMES.items():
        name = name.replace(ours, theirs)
    return [QKeySequence(one) for one in {name, name.replace("Return", "Enter")}]


def _repeat(viewer: Viewer, key: str) -> None:
    """Do what a key does over the images, if its panel is open."""
    bound = viewer.keymap.get(coerce_keybinding(key))
    if bound is not None:
        bound(viewer)


def _to(panel: QWidget, act: Act) -> Callable[[Viewer], None]:
    """Return what napari calls; a panel that is closed is not kept alive by it."""
    there = ref(panel)

    def pressed(_: Viewer) -> None:
        living = there()
        if living is not None:
            act(living)

    return pressed


def _tell(viewer: Viewer) -> None:
    show_keys(
        viewer.window._qt_window,
        {
            panel: [(key, what) for key, (what, _) in keys.items()]
            for panel, keys in PANELS.items()
        },
    )
