"""Many items: here, in real processes and on a real Dask cluster, also as they die."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import dask
import pytest
from dask.distributed import LocalCluster
from other_processes import is_at_work, wait_until, workers_of

from napari_harm3.errors import ConfigError, Harm3Error
from napari_harm3.jobs import parallel
from napari_harm3.jobs.parallel import each, stopping, worker_number

GATE = "gate"
KILLER, CRASHER = 2, 3
EXPECTED = {0: 0, 1: 10, KILLER: "died", CRASHER: "ZeroDivisionError", 4: 40, 5: 50}


@pytest.fixture(scope="module")
def cluster():
    """Return a cluster of one worker, which forgives no death but always restarts."""
    patience = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.deploy.lost-worker-timeout": "1h",
    }
    with (
        dask.config.set(patience),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as running,
    ):
        yield running


@pytest.fixture(params=["processes", "cluster"])
def elsewhere(request):
    """Return the two ways to work in other processes."""
    if request.param == "processes":
        return {"workers": 2}
    cluster = request.getfixturevalue("cluster")
    return {"workers": 1, "scheduler": cluster.scheduler_address}


def tenfold(item):
    if item == KILLER:
        os.kill(os.getpid(), signal.SIGKILL)
    if item == CRASHER:
        raise ZeroDivisionError
    return 10 * item


def lost(item, error):
    return "died" if error is None else type(error).__name__


def identity(_):
    return os.getpid(), worker_number()


def until_stopped(folder, item):
    """Leave a mark; the first is done, the others wait until they are asked to stop."""
    (folder / str(item)).touch()
    while item and not stopping():
        time.sleep(0.01)
    return item


def whatever_is_asked(folder, item):
    """Leave a mark, and one when asked to stop, and go on."""
    until_stopped(folder, item)
    (folder / f"{item} was asked").touch()
    time.sleep(600)


def until_opened(gate, item):
    """Leave a mark; whichever comes first is done, others wait for a gate to open."""
    first = names_in(gate.parent) == {GATE}
    (gate.parent / str(item)).touch()
    if not first:
        gate.open().close()
    return item


def meet(pipe, item):
    """Wait until both of two items are being worked on, then say by which worker."""
    with pipe.open("r" if item else "w"):
        return worker_number()


def begun_in(folder, work="until_stopped"):
    """Return a process that keeps two others at work."""
    return subprocess.Popen(
        [sys.executable, __file__, folder, work],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def names_in(folder):
    return {entry.name for entry in folder.iterdir()}


def test_one_worker_is_this_process():
    (first, _), (second, _) = (
        outcome for _, outcome in each(identity, "ab", workers=1)
    )

    assert first == second == os.getpid()


def test_every_item_comes_back_with_its_own_outcome(elsewhere):
    found = dict(each(tenfold, [0, 1, 4, 5], **elsewhere))

    assert found == {0: 0, 1: 10, 4: 40, 5: 50}


@pytest.mark.slow
def test_an_item_that_kills_its_process_is_lost_alone(elsewhere):
    found = list(each(tenfold, list(EXPECTED), lost=lost, **elsewhere))

    assert sorted(found) == sorted(EXPECTED.items())


@pytest.mark.slow
def test_several_killers_are_all_found(elsewhere):
    items = [KILLER, 0, KILLER]

    found = [outcome for _, outcome in each(tenfold, items, lost=lost, **elsewhere)]

    assert sorted(map(str, found)) == ["0", "died", "died"]


def test_a_death_that_nobody_answers_for_is_one_sentence(elsewhere):
    with pytest.raises(Harm3Error, match="fewer --workers"):
        list(each(tenfold, [KILLER, 0], **elsewhere))


def test_closing_asks_what_runs_to_stop_and_drops_what_has_not_begun(tmp_path):
    job = each(partial(until_stopped, tmp_path), list(range(50)), workers=2)
    assert next(job) == (0, 0)

    job.close()

    # Two ran, and no more than three were on their way to them.
    assert {"0", "1"} <= names_in(tmp_path)
    assert len(names_in(tmp_path)) <= 1 + 2 + 3


def test_closing_cancels_what_a_cluster_has_not_begun(tmp_path, cluster):
    address, gate = cluster.scheduler_address, tmp_path / GATE
    os.mkfifo(gate)
    job = each(
        partial(until_opened, gate), list(range(50)), workers=1, scheduler=address
    )
    next(job)

    job.close()
    opened = os.open(gate, os.O_RDWR)
    after = list(each(tenfold, [7], workers=1, scheduler=address))
    os.close(opened)

    assert after == [(7, 70)]
    # One was done, one at work, and one more on its way to the only thread.
    assert len(names_in(tmp_path) - {GATE}) <= 3


def test_processes_end_with_the_one_that_began_them(tmp_path):
    begun = begun_in(tmp_path)
    wait_until(lambda: names_in(tmp_path) >= {"1", "2"})
    workers = workers_of(begun)
    assert len(workers) == 2

    begun.kill()

    assert wait_until(lambda: not any(is_at_work(worker) for worker in workers))
    begun.communicate()


def test_ctrl_c_is_the_parents_business_from_the_first_moment(tmp_path):
    os.mkfifo(tmp_path / GATE)
    begun = begun_in(tmp_path)
    wait_until(lambda: len(list(tmp_path.glob("loading*"))) == 2)

    os.killpg(begun.pid, signal.SIGINT)
    opened = os.open(tmp_path / GATE, os.O_RDWR)
    _, said = begun.communicate(timeout=30)
    os.close(opened)

    assert said.count("Traceback") == 1  # the parent's own
    assert said.endswith("KeyboardInterrupt\n")


def test_who_presses_ctrl_c_twice_waits_for_nobody(tmp_path):
    begun = begun_in(tmp_path, "whatever_is_asked")
    wait_until(lambda: names_in(tmp_path) >= {"1", "2"})
    workers = workers_of(begun)

    os.killpg(begun.pid, signal.SIGINT)
    wait_until(lambda: names_in(tmp_path) >= {"1 was asked", "2 was asked"})
    os.killpg(begun.pid, signal.SIGINT)
    _, said = begun.communicate(timeout=30)

    assert said.endswith("KeyboardInterrupt\n")
    assert wait_until(lambda: not any(is_at_work(worker) for worker in workers))


def test_workers_that_see_the_same_gpus_share_them():
    class Launched:
        """Stands where a client of two machines would, one set up by dask-cuda."""

        def run(self, function, on_error):
            assert on_error == "ignore"
            return {
                "tcp://a:9": ("a", None),
                "tcp://a:1": ("a", None),
                "tcp://a:5": ("a", None),
                "tcp://b:1": ("b", "0,1"),
                "tcp://b:2": ("b", "1,0"),
            }

    assert parallel._numbers(Launched()) == {
        "tcp://a:1": 0,
        "tcp://a:5": 1,
        "tcp://a:9": 2,
        "tcp://b:1": 0,
        "tcp://b:2": 0,
    }


def test_each_worker_of_a_cluster_has_a_number(tmp_path, cluster):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    cluster.scale(2)
    cluster.wait_for_workers(2)

    met = each(
        partial(meet, pipe), [0, 1], workers=1, scheduler=cluster.scheduler_address
    )

    assert {number for _, number in met} == {0, 1}


@pytest.mark.parametrize("address", ["nonsense", "tcp://127.0.0.1:1"])
def test_a_scheduler_that_does_not_answer_is_one_sentence(address, monkeypatch):
    monkeypatch.setattr(parallel, "ANSWER_SECONDS", 1)

    with pytest.raises(ConfigError, match=f"No Dask scheduler answers at {address}"):
        next(each(tenfold, [0], workers=1, scheduler=address))


def test_a_scheduler_that_goes_away_loses_what_is_left_in_one_sentence(tmp_path):
    gate = tmp_path / GATE
    os.mkfifo(gate)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        job = each(
            partial(until_opened, gate),
            [0, 1, 2],
            workers=1,
            scheduler=cluster.scheduler_address,
            lost=lambda _, error: str(error),
        )
        first, _ = next(job)

    left = dict(job)

    assert left.keys() == {0, 1, 2} - {first}
    assert all("went away: run again." in text for text in left.values())


def test_no_workers_are_refused():
    with pytest.raises(ConfigError, match="--workers"):
        next(each(tenfold, [0, 1], workers=0))


if __name__ == "__mp_main__":  # a process of its processes, as it loads
    (Path(sys.argv[1]) / f"loading {os.getpid()}").touch()
    if (Path(sys.argv[1]) / GATE).exists():
        (Path(sys.argv[1]) / GATE).open().close()

if __name__ == "__main__":  # a process of its own, for the tests above to kill
    work = partial(globals()[sys.argv[2]], Path(sys.argv[1]))
    list(each(work, [1, 2], workers=2))
