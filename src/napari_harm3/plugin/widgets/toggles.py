"""A row of buttons of which one is down, or none; or several where that is wanted."""

from collections.abc import Collection, Mapping

from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # per binding
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget


class Toggles(QWidget):
    """What is down is pressed again to be taken back.

    Parameters
    ----------
    titles
        What stands on the button of each value.
    several
        Whether more than one may be down.
    tip
        Said of every button.
    """

    changed = Signal()
    """Somebody pressed a button."""

    def __init__(
        self, titles: Mapping[str, str], *, several: bool = False, tip: str = ""
    ) -> None:
        super().__init__()
        self._several = several
        self.buttons: dict[str, QPushButton] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(3)
        for value, title in titles.items():
            button = QPushButton(title)
            button.setCheckable(True)
            button.setToolTip(tip)
            button.clicked.connect(lambda _, value=value: self._pressed(value))
            self.buttons[value] = button
            row.addWidget(button)

    @property
    def chosen(self) -> list[str]:
        """Every value whose button is down."""
        return [value for value, button in self.buttons.items() if button.isChecked()]

    @property
    def value(self) -> str | None:
        """The first of these."""
        return next(iter(self.chosen), None)

    def choose(self, values: Collection[object]) -> None:
        """Put down the buttons of some values and no others, telling nobody."""
        names = {str(value) for value in values}
        for value, button in self.buttons.items():
            button.setChecked(value in names)

    def press(self, value: str) -> None:
        """Press a button, if it may be; the one of a row that is down stays down."""
        button = self.buttons[value]
        if self._several or not button.isChecked():
            button.click()

    def _pressed(self, value: str) -> None:
        if not self._several and self.buttons[value].isChecked():
            self.choose([value])
        self.changed.emit()
