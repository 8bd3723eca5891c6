"""What a method costs, and what of it can be said of one fold."""

import json

import pytest
import torch

from napari_harm3.experiments.comparison import cost_of_run
from napari_harm3.training import cost
from napari_harm3.training.cost import Stopwatch, peak_memory_mb


def test_a_stopwatch_counts_nothing_while_it_is_stopped(monkeypatch):
    now = [5.0]
    monkeypatch.setattr(cost.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(cost.time, "process_time", lambda: now[0] / 2)

    def pass_by(seconds):
        now[0] += seconds

    watch = Stopwatch()
    pass_by(3)
    with watch.stopped():
        pass_by(100)
    pass_by(1)

    assert (watch.seconds, watch.cpu_seconds) == (4, 2)


def test_a_process_that_trains_more_than_one_fold_has_no_peak_of_one():
    device = torch.device("cpu")

    assert peak_memory_mb(device, alone=False) is None
    assert peak_memory_mb(device, alone=True) > 1


def written(run, number, **costs):
    folder = run / f"fold-{number}"
    folder.mkdir(parents=True)
    about = {"epochs": 4, "seconds": 2.0, "cpu_seconds": 8.0, "sha256": "0" * 64}
    about["cost"] = {"parameters": 5, "flops": 7, **costs}
    (folder / "best.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("costs", "timed", "seconds", "peak"),
    [
        ([{"peak_memory_mb": 9.0}] * 2, "CPU", 2.0, 9.0),
        ([{"device": "cpu", "peak_memory_mb": None}] * 2, "CPU", 2.0, None),
        (
            [{"device": "cuda", "peak_memory_mb": peak} for peak in (3.0, 4.0)],
            "GPU",
            0.5,
            4.0,
        ),
    ],
)
def test_a_gpu_is_timed_by_the_clock_and_the_rest_by_the_processor(
    tmp_path, costs, timed, seconds, peak
):
    for number, one in enumerate(costs):
        written(tmp_path, number, **one)

    found = cost_of_run(tmp_path)

    assert (found.timed, found.seconds_per_epoch) == (timed, seconds)
    assert found.peak_memory_mb == peak
