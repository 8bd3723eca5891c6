"""What both parts of the Train panel are made of: fields, words of a command."""

from collections.abc import Mapping

from qtpy.QtWidgets import QComboBox, QSpinBox

from napari_harm3.plugin.forms import Shown
from napari_harm3.plugin.widgets.parts import choice
from napari_harm3.training.config import RunConfig

START = RunConfig.of("harm3", "small")
"""From which the forms start."""

FIELDS = {
    name: Shown(label=name.capitalize())
    for name in ("size", "folds", "repeats", "seed")
}
"""Of a run's configuration."""

CHOOSE = "Choose a cohort in the Cases panel and a folder here."


def device_box() -> QComboBox:
    """Return a box of devices, into which another can be typed."""
    box = choice(("auto", "cpu", "cuda", "cuda:0", "cuda:1"))
    box.setEditable(True)
    box.setToolTip("auto takes a GPU where there is one; cuda:N the one of that number")
    return box


def at_once_box() -> QSpinBox:
    """Return a box for the number of folds that are trained side by side."""
    box = QSpinBox()
    box.setRange(1, 64)
    box.setSuffix(" folds")
    box.setSpecialValueText("1 fold")
    box.setToolTip("Folds side by side, each in a process of its own")
    return box


def command(
    *words: object, options: Mapping[str, object], switches: Mapping[str, bool]
) -> list[str]:
    """Return what ``harm3`` is told.

    Parameters
    ----------
    words
        The command, and what it works on.
    options
        With their values; one that is None is left out, each of a list is told.
    switches
        And whether each is on.
    """
    told = [*words]
    for name, value in options.items():
        if value is not None:
            told += [name, *(value if isinstance(value, list) else [value])]
    told += [name for name, on in switches.items() if on]
    return [str(word) for word in (*told, "--json")]
