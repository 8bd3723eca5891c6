"""The picture of the trials shows where the map stood, and where there was none."""

from dataclasses import replace

import numpy as np
import pytest

from bare_explanations import explained
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.report.check_figure import check_figure

BLOBS = ("random_mean", "random_low", "random_high")


def cascade(passed, *ranks):
    return {
        "passed": passed,
        "verdict": "As it came out.",
        "limit": 0.5,
        "stages": [
            {"layer": str(n), "rank_correlation": r} for n, r in enumerate(ranks)
        ],
    }


@pytest.mark.parametrize(
    ("passed", "word"), [(True, "passes"), (False, "fails"), (None, "not judged")]
)
def test_a_map_that_is_gone_leaves_a_gap_and_the_control_goes_all_the_way(passed, word):
    control = cascade(False, 1.0) | {"map": "edges of the input"}
    trial = cascade(passed, 0.75, None, -0.5) | {"control": control}

    (axis,) = check_figure(explained(), {"randomisation": trial}).axes

    lines = {line.get_label(): line for line in axis.get_lines()}
    own = lines[f"this map ({word})"]
    np.testing.assert_array_equal(own.get_ydata(), [1, 0.75, np.nan, -0.5])
    np.testing.assert_array_equal(own.get_xdata(), [0, 1, 2, 3])
    edges = lines["control: edges of the input"]
    np.testing.assert_array_equal(edges.get_xdata(), [0, 3])
    assert axis.get_ylim()[0] < -0.5


@pytest.mark.parametrize(("target", "said"), [("pcr", "pCR"), ("non-pcr", "no pCR")])
def test_deletion_and_insertion_go_by_voxels(target, said):
    curve = {
        **{name: [1, 0] for name in ("evident", *BLOBS)},
        "area": 0.0,
        "p": 1.0,
    }
    trial = {"verdict": "", "share": [0, 0.5], "deletion": curve, "insertion": curve}

    one = replace(explained(), config=ExplainConfig(target=target))
    axes = check_figure(one, {"faithfulness": trial}).axes

    assert axes[0].get_ylabel() == f"log-odds of {said}"
    assert [one.get_xlabel() for one in axes] == [
        "voxels taken out, %",
        "voxels put in, %",
    ]
