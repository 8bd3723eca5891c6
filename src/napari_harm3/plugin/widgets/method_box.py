"""A box to choose a method from, grouped as the tables are."""

from qtpy.QtCore import Qt
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import QComboBox

from napari_harm3.jobs.models import Method, methods

GROUPS = {
    "table1": "Table 1",
    "table2": "Table 2, what is left out",
    "beyond": "Beyond the paper",
    "reference": "What is easy",
    "own": "Of other packages",
}
SEES = {"mri": "MRI", "wsi": "slide", "clinical": "clinical columns"}
NAME = Qt.ItemDataRole.UserRole
FIRST = "harm3"


class MethodBox(QComboBox):
    """Every method by its title, the groups' names between them."""

    def __init__(self) -> None:
        super().__init__()
        self.methods = {method.name: method for method in methods()}
        model = QStandardItemModel(self)
        for group, title in GROUPS.items():
            own = [one for one in self.methods.values() if one.group == group]
            if own:
                model.appendRow(_heading(title))
            for method in own:
                model.appendRow(_item(method))
        self.setModel(model)
        self.setToolTip("The network that is trained, fold by fold")
        self.setMaxVisibleItems(model.rowCount())
        self.choose(FIRST)

    @property
    def method(self) -> Method:
        """What is chosen."""
        return self.methods[str(self.currentData(NAME))]

    def choose(self, name: str) -> None:
        """Choose a method by its name; one that is not there changes nothing."""
        row = self.findData(name, NAME)
        if row >= 0:
            self.setCurrentIndex(row)


def sees(method: Method) -> str:
    """Return what a method looks at, for people."""
    if method.group == "own":
        return ""
    names = [SEES.get(name, name) for name in method.modalities]
    return " + ".join(names) or "labels alone"


def about(method: Method) -> str:
    """Return the reference of a method and what it looks at, in a line."""
    if method.group == "own":
        return "Brought by another package, which is loaded when it is trained."
    return f"{method.reference[:1].upper()}{method.reference[1:]}. Sees {sees(method)}."


def _heading(title: str) -> QStandardItem:
    item = QStandardItem(title)
    font = item.font()
    font.setBold(True)
    item.setFont(font)
    item.setFlags(Qt.ItemFlag.NoItemFlags)
    return item


def _item(method: Method) -> QStandardItem:
    item = QStandardItem(method.title)
    item.setData(method.name, NAME)
    item.setToolTip(f"{about(method)}\nharm3 train --method {method.name}")
    return item
