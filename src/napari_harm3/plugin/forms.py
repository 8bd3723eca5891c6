"""A form made of a configuration class: its bounds, defaults and help, written once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Generic, TypeVar

from magicgui.widgets import CheckBox, create_widget
from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # per binding
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QFormLayout,
    QGridLayout,
    QLabel,
    QWidget,
)

Config = TypeVar("Config")
MOST = 1_000_000
"""Where a number has no bound of its own, a form still needs one."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How a field stands in a form."""

    label: str
    most: float | None = None
    """Makes a number a slider that ends here, where it is still easy to aim at."""

    step: float = 1


class FieldGrid(QGridLayout):
    """Labelled fields, several in a row.

    Parameters
    ----------
    columns
        Fields in a row.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self._columns, self._cells = columns, 0
        self.setContentsMargins(0, 0, 0, 0)
        self.setHorizontalSpacing(8)
        for column in range(columns):
            self.setColumnStretch(2 * column + 1, 1)
            # Fields of one width, whatever they hold.
            self.setColumnMinimumWidth(2 * column + 1, 80)

    def add(self, label: str, field: QWidget, *, wide: bool = False) -> None:
        """Put a field in the next place, or alone in a row."""
        if wide:
            self._cells = -(-self._cells // self._columns) * self._columns
        row, column = divmod(self._cells, self._columns)
        self.addWidget(QLabel(label), row, 2 * column)
        width = 2 * self._columns - 1 if wide else 1
        self.addWidget(field, row, 2 * column + 1, 1, width)
        self._cells += self._columns if wide else 1


class ConfigForm(QWidget, Generic[Config]):
    """A form over some fields of a configuration; the others stay as they were.

    Parameters
    ----------
    config
        A frozen pydantic dataclass, from which the form starts.
    shown
        The fields on the form, in order; a dot leads into a configuration's part.
    grid
        Where they are laid, beside others; one below the other if not given.
    """

    changed = Signal()

    def __init__(
        self,
        config: Config,
        shown: Mapping[str, Shown],
        *,
        grid: FieldGrid | None = None,
    ) -> None:
        super().__init__()
        self._config = config
        self.fields = {name: _field(config, name, how) for name, how in shown.items()}
        column = QFormLayout()
        column.setContentsMargins(0, 0, 0, 0)
        self.setLayout(column if grid is None else grid)
        for name, field in self.fields.items():
            add = column.addRow if grid is None else grid.add
            add(shown[name].label, field.native)
            field.changed.connect(lambda _: self.changed.emit())

    def config(self) -> Config:
        """Return what the form says.

        Raises
        ------
        ValidationError
            If a value is out of the class's bounds.
        """
        values: dict[str, Any] = {}
        for name, field in self.fields.items():
            *parts, last = name.split(".")
            reduce(lambda part, key: part.setdefault(key, {}), parts, values)[last] = (
                field.value
            )
        changed: Config = _replaced(self._config, values)
        return changed

    def show_config(self, config: Config) -> None:
        """Take another configuration, telling nobody."""
        self._config = config
        self.blockSignals(True)
        for name, field in self.fields.items():
            field.value = reduce(getattr, name.split("."), config)
        self.blockSignals(False)


def _field(config: Any, name: str, how: Shown) -> Any:
    *parts, last = name.split(".")
    part = reduce(getattr, parts, config)
    about = type(part).__pydantic_fields__[last]
    options: dict[str, Any] = {"tooltip": about.description or ""}
    if about.annotation in (int, float):
        options |= _range(about.annotation, about.metadata, how)
    field = create_widget(
        value=getattr(part, last),
        annotation=about.annotation,
        name=last,
        options=options,
    )
    if isinstance(field, CheckBox):
        field.text = ""  # the label stands before it
    for number in field.native.findChildren(QDoubleSpinBox):
        number.setDecimals(0 if how.step >= 1 else 2)
    return field


def _replaced(config: Any, values: Mapping[str, Any]) -> Any:
    """Return a configuration with other values, its parts' among them."""
    new = {
        name: _replaced(getattr(config, name), value)
        if isinstance(value, dict)
        else value
        for name, value in values.items()
    }
    return replace(config, **new)


def _range(kind: type[int | float], bounds: list[Any], how: Shown) -> dict[str, Any]:
    """Return a number's range: the class's own bounds, unless the form ends before."""
    low, high = 0.0, how.most
    for bound in bounds:
        low = getattr(bound, "ge", low)
        if high is None:
            high = getattr(bound, "le", None)
        if hasattr(bound, "gt"):
            low = bound.gt + how.step
    box = "SpinBox" if how.most is None else "Slider"
    return {
        "min": kind(low),
        "max": kind(MOST if high is None else high),
        "step": kind(how.step),
        "widget_type": box if kind is int else f"Float{box}",
    }
