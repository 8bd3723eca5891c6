"""Shuffled labels: only what was tried, and found nothing, passes."""

import json

import pytest

from napari_harm3.experiments.permutation import Sanity

NOTHING_FOUND = {"a": [0.49, 0.5], "b": [0.52]}


def test_methods_that_find_nothing_pass():
    sanity = Sanity(auc=NOTHING_FOUND, bound=0.1)

    assert sanity.passed
    (note,) = sanity.notes
    assert note.startswith("Shuffled labels: passed; mean AUC 0.503 over methods")
    assert note.endswith("within 0.100 of 0.5 but for none.")


def test_a_method_that_finds_something_is_named():
    sanity = Sanity(auc=NOTHING_FOUND | {"c": [0.7]}, bound=0.1)

    assert (sanity.passed, sanity.outside) == (False, ("c",))
    assert "but for c." in sanity.notes[0]


@pytest.mark.parametrize("auc", [{"a": [], "b": [0.5]}, {"a": [], "b": []}, {}])
def test_what_was_never_measured_does_not_pass(auc):
    sanity = Sanity(auc=auc, bound=0.1)

    plain = json.loads(json.dumps(sanity.to_plain(), allow_nan=False))

    assert (plain["passed"], plain["outside"]) == (False, [])
    assert plain["unmeasured"] == [name for name, found in auc.items() if not found]
    assert all(name in sanity.notes[-1] for name in plain["unmeasured"])
    assert "NOT passed" in sanity.notes[0]
