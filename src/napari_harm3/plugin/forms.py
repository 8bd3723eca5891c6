"""A form made of a configuration class: its bounds, defaults and help, written once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from magicgui.widgets import CheckBox, create_widget
from qtpy.QtCore import Signal  # type: ignore[attr-defined]  # per binding
from qtpy.QtWidgets import QDoubleSpinBox, QFormLayout, QWidget

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


class ConfigForm(QWidget, Generic[Config]):
    """A form over some fields of a configuration; the others stay as they were.

    Parameters
    ----------
    config
        A frozen pydantic dataclass, from which the form starts.
    shown
        The fields on the form, in order.
    """

    changed = Signal()

    def __init__(self, config: Config, shown: Mapping[str, Shown]) -> None:
        super().__init__()
        self._config = config
        self.fields = {name: _field(config, name, how) for name, how in shown.items()}
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for name, field in self.fields.items():
            layout.addRow(shown[name].label, field.native)
            field.changed.connect(lambda _: self.changed.emit())

    def config(self) -> Config:
        """Return what the form says.

        Raises
        ------
        ValidationError
            If a value is out of the class's bounds.
        """
        values = {name: field.value for name, field in self.fields.items()}
        return replace(self._config, **values)  # type: ignore[type-var]

    def show_config(self, config: Config) -> None:
        """Take another configuration, telling nobody."""
        self._config = config
        self.blockSignals(True)
        for name, field in self.fields.items():
            field.value = getattr(config, name)
        self.blockSignals(False)


def _field(config: Any, name: str, how: Shown) -> Any:
    about = type(config).__pydantic_fields__[name]
    options: dict[str, Any] = {"tooltip": about.description or ""}
    if about.annotation in (int, float):
        options |= _range(about.annotation, about.metadata, how)
    field = create_widget(
        value=getattr(config, name),
        annotation=about.annotation,
        name=name,
        options=options,
    )
    if isinstance(field, CheckBox):
        field.text = ""  # the label stands before it
    for number in field.native.findChildren(QDoubleSpinBox):
        number.setDecimals(0 if how.step >= 1 else 2)
    return field


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
