"""Requests are read strictly, and reach the job with its own types."""

import pytest

from napari_harm3.errors import ConfigError
from napari_harm3.worker.table import JOBS, job_of

ASKED = {
    "model": "run",
    "cohort": "none.csv",
    "out": "out",
    "request": {
        "also": ["occlusion", "decoupled"],
        "checks": ["randomisation", "faithfulness"],
        "occlusion": {"cube": [2, 4, 4], "stride": [2, 4, 4]},
    },
}


@pytest.mark.parametrize(
    ("name", "more"), [("explain", {"case": "A"}), ("explain_cohort", {})]
)
def test_maps_and_trials_can_be_asked_for(name, more):
    assert name in JOBS
    job_of(name, ASKED | more)  # ready to run: every parameter was read


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"also": ["saliency"]}, "request.also.0"),
        ({"checks": "randomisation"}, "request.checks"),
        ({"occlusion": {"cube": [0, 1, 1]}}, "request.occlusion.cube.0"),
    ],
)
def test_what_is_not_right_is_refused_by_name(wrong, where):
    with pytest.raises(ConfigError, match=f"'{where}' is not right"):
        job_of("explain", ASKED | {"case": "A", "request": wrong})
