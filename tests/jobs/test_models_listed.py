"""The list of methods holds those of other packages that load."""

from dataclasses import replace

import pytest

from napari_harm3.jobs.models import list_models, methods
from napari_harm3.models import registry

OWN = replace(registry.MODELS["majority"], name="own", title="Of another package")


class Point:
    """Stands for an entry point."""

    def __init__(self, name, entry):
        self.name, self.entry = name, entry

    def load(self):
        if self.entry is None:
            raise ImportError("no such thing")
        return self.entry


@pytest.fixture
def other_packages(monkeypatch):
    """Install a method, one that does not load, and one of a network that does not."""
    lost = replace(OWN, name="lost", network="no_such_module:Network")
    points = [Point("broken", None), Point("lost", lost), Point("own", OWN)]
    registry._own.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group else [])
    yield
    registry._own.cache_clear()


@pytest.mark.usefixtures("other_packages")
def test_a_method_of_another_package_is_listed_after_ours():
    (*warned, last) = list_models()
    rows = last.result["models"]

    assert [row["name"] for row in rows] == [*registry.MODELS, "own"]
    assert rows[-1] == {
        "name": "own",
        "modalities": list(OWN.modalities),
        "reference": OWN.reference,
        "parameters": rows[list(registry.MODELS).index("majority")]["parameters"],
    }
    assert ["'broken' does not load" in warned[0].warning, len(warned)] == [True, 2]
    assert "The network of 'lost' cannot be built" in warned[1].warning


@pytest.mark.usefixtures("other_packages")
def test_a_choice_of_methods_loads_none_of_them():
    assert [method.name for method in methods()][-3:] == ["broken", "lost", "own"]
