"""What every test shares."""

import contextlib
import csv
import json
import os
import shutil
import signal

# Whoever starts the tests in the background has them ignore Ctrl-C, and with them the
# processes that they begin in order to stop them so.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Several processes test at once; threads of each would only spin against the others.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Importing triton after an OpenGL context exists kills the process, so it comes first.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

from pathlib import Path

import pytest

from napari_harm3.artifacts import write_csv
from napari_harm3.cli.main import main
from napari_harm3.jobs.cohort import make_phantom, prepare_cohort
from napari_harm3.jobs.progress import result_of
from napari_harm3.phantom.config import PhantomConfig
from napari_harm3.training.config import RunConfig

REAL = Path(os.environ.get("HARM3_TEST_DATA", "../shared/data"))


@pytest.fixture
def harm3(capsys):
    """Run a command; return exit code, its JSON and what it said on stderr."""

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words), "--json"])
        out, err = capsys.readouterr()
        return ended.value.code, json.loads(out) if out else None, err

    return run


@pytest.fixture(scope="session")
def real_data():
    """Return the folder of real files, where it is at hand."""
    if not REAL.exists():
        pytest.skip("HARM3_TEST_DATA names no folder of real files")
    return REAL.resolve()


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Return the table of a small made-up cohort."""
    out = tmp_path_factory.mktemp("cohort")
    config = PhantomConfig(cases=10, seed=3)
    return Path(result_of(make_phantom(out, config=config))["cohort"])


@pytest.fixture(scope="session")
def run_config():
    """Return a recipe that trains in seconds."""
    from dataclasses import replace

    config = RunConfig.of("harm3", "small")
    training = replace(config.training, epochs=2, save_every=1)
    return replace(config, folds=2, training=training)


@pytest.fixture(scope="session")
def prepared_cohort(cohort, run_config):
    """Return the same cohort, its volumes and slides prepared."""
    result = result_of(prepare_cohort(cohort, inputs=run_config.inputs, device="cpu"))
    assert result["failed"] == []
    return cohort


@pytest.fixture(scope="session")
def balanced(prepared_cohort):
    """Return the prepared cohort with every second case labelled pCR."""
    with prepared_cohort.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for number, row in enumerate(rows):
        row["pcr"] = str(number % 2)
    table = prepared_cohort.with_name("every-second.csv")
    write_csv(table, rows, list(rows[0]))
    shutil.copy(prepared_cohort.with_suffix(".json"), table.with_suffix(".json"))
    return table


@pytest.fixture(scope="session")
def run(prepared_cohort, run_config, tmp_path_factory):
    """Return a trained run folder."""
    from napari_harm3.jobs.training import train

    folder = tmp_path_factory.mktemp("runs") / "run"
    result_of(train(prepared_cohort, run=folder, config=run_config, device="cpu"))
    return folder
