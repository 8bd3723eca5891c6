"""The paper's tables as a whole: from a cohort table to pages, stopped and resumed."""

import csv
import json
import sys
from dataclasses import replace
from types import ModuleType

import pytest

from napari_harm3.artifacts import write_text
from napari_harm3.cohort.table import read_cohort
from napari_harm3.errors import Harm3Error, Stopped, TrainingError
from napari_harm3.jobs.progress import result_of
from napari_harm3.jobs.reproduction import Reproduction, configs_of, reproduce
from napari_harm3.jobs.training import evaluate, train
from napari_harm3.models import registry
from napari_harm3.models.entry import ModelEntry
from napari_harm3.models.harm3.config import SMALL_HARM3
from napari_harm3.training.config import RunConfig

METHODS = ("abmil", "concat-mlp", "volume-ratio", "majority")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def balanced(prepared_cohort):
    """Return the small cohort with every second case labelled pCR."""
    return relabelled(prepared_cohort, "balanced", lambda n: n % 2)


def relabelled(cohort, name, label, **columns):
    with cohort.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for number, row in enumerate(rows):
        row["pcr"] = str(label(number))
        row |= {key: str(value(number)) for key, value in columns.items()}
    path = cohort.with_name(f"{name}.csv")
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")
    return path


def asked(cohort, out, *, methods=METHODS, table="table1", **options):
    base = replace(RunConfig.of("harm3", "small"), folds=2)
    configs = configs_of(table, base, beyond=False, methods=methods, budget="matched")
    configs = {
        name: replace(one, training=replace(one.training, epochs=1, save_every=1))
        for name, one in configs.items()
    }
    work = cohort.parent / ".harm3"
    return Reproduction(
        cohort=cohort, out=out, configs=configs, work=work, device="cpu", **options
    )


def stop_at(job, text, run):
    for message in job:
        if message.text == text:
            (run / "stop").touch()


@pytest.fixture(scope="module")
def table(balanced, tmp_path_factory):
    out = tmp_path_factory.mktemp("table")
    return out, result_of(reproduce("table1", asked(balanced, out)))


def test_every_method_is_measured_on_the_same_cases_in_the_same_folds(table):
    out, result = table

    folds = {(out / name / "folds.csv").read_text() for name in (*METHODS, "harm3")}

    assert len(folds) == 1
    assert [row["method"] for row in result["rows"]] == [*METHODS, "harm3"]
    assert all(row["metrics"]["n"] == 10 for row in result["rows"])


def test_the_table_stands_in_three_forms_with_what_the_paper_reports(table):
    out, result = table

    page = (out / "table1.html").read_text()
    text = (out / "table1.md").read_text()
    with (out / "table1.csv").open(newline="") as stream:
        rows = {row["method"]: row for row in csv.DictReader(stream)}

    assert result["table"] == str(out / "table1.csv")
    assert set(rows) == {*METHODS, "harm3"}
    for content in (page, text):
        assert "Research use only" in content
        assert "0.7581" in content  # the paper's own row
    kept = json.loads((out / "table1.json").read_text())
    places = {"table", "files", "runs"}
    assert {k: v for k, v in kept.items() if k not in places} == {
        k: v for k, v in result.items() if k not in places
    }
    assert str(out) not in json.dumps(kept)


def test_the_majority_finds_nothing_and_a_volume_is_measured(table):
    _, result = table
    rows = {row["method"]: row["metrics"] for row in result["rows"]}

    assert rows["majority"]["auc"]["mean"] == 0.5
    assert rows["volume-ratio"]["auc"]["mean"] != 0.5


def test_what_is_finished_is_kept_and_what_is_stopped_goes_on(
    table, balanced, tmp_path
):
    out = tmp_path / "out"
    request = asked(balanced, out)
    with pytest.raises(Stopped):
        stop_at(reproduce("table1", request), "concat-mlp, fold 0", out / "concat-mlp")
    assert (out / "abmil" / "fold-1" / "best.json").exists()
    before = (out / "abmil" / "fold-1" / "best.json").stat().st_mtime_ns

    result = result_of(reproduce("table1", request))

    assert (out / "abmil" / "fold-1" / "best.json").stat().st_mtime_ns == before
    assert result["rows"] == table[1]["rows"]


def test_folds_of_several_methods_side_by_side_give_the_same_table(
    table, balanced, tmp_path
):
    request = asked(balanced, tmp_path, methods=("abmil",), jobs=2)

    result = result_of(reproduce("table1", request))

    alone = {row["method"]: row["metrics"]["auc"] for row in table[1]["rows"]}
    for row in result["rows"]:
        assert row["metrics"]["auc"]["mean"] == pytest.approx(
            alone[row["method"]]["mean"]
        )


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_method_that_fails_takes_no_other_with_it(jobs, table, balanced, tmp_path):
    request = asked(balanced, tmp_path, methods=("abmil", "majority"), jobs=jobs)
    abmil = request.configs["abmil"]
    wild = replace(abmil.training, learning_rate=1e30, batch=2)
    configs = {**request.configs, "abmil": replace(abmil, training=wild)}

    result = result_of(reproduce("table1", replace(request, configs=configs)))

    alone = {row["method"]: row["metrics"]["auc"] for row in table[1]["rows"]}
    assert [row["method"] for row in result["rows"]] == ["majority", "harm3"]
    assert result["rows"][1]["metrics"]["auc"]["mean"] == pytest.approx(
        alone["harm3"]["mean"]
    )
    assert list(result["failed"]) == ["abmil"]
    assert "no longer a number" in result["failed"]["abmil"]
    assert "abmil is missing" in (tmp_path / "table1.md").read_text()


def test_a_cluster_gives_the_same_table(table, balanced, tmp_path):
    from dask.distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        request = asked(
            balanced,
            tmp_path,
            methods=("abmil",),
            scheduler=cluster.scheduler_address,
        )
        result = result_of(reproduce("table1", request))

    alone = {row["method"]: row["metrics"]["auc"] for row in table[1]["rows"]}
    assert all(row["metrics"]["auc"] == alone[row["method"]] for row in result["rows"])
    lines = (tmp_path / "abmil" / "events.jsonl").read_text().splitlines()
    ends = [one for one in map(json.loads, lines) if one["kind"] == "fold"]
    assert [one["fold"] for one in ends] == [0, 1]


def test_shuffled_labels_are_told_and_change_no_other_run(balanced, tmp_path):
    request = asked(balanced, tmp_path, methods=("abmil", "majority"))

    result = result_of(reproduce("table1", request, permutations=2))

    sanity = result["sanity"]
    assert {name: len(v) for name, v in sanity["auc"].items()} == {
        "abmil": 2,
        "majority": 2,
        "harm3": 2,
    }
    assert sanity["auc"]["majority"] == [0.5, 0.5]
    # Five of each class: nothing is told from chance on so few.
    assert sanity["bound"] == pytest.approx(3 * (11 / 300) ** 0.5)
    assert "Shuffled labels" in (tmp_path / "table1.md").read_text()


def test_table_2_is_the_ablations(balanced, tmp_path):
    request = asked(balanced, tmp_path, methods=(), table="table2")

    assert list(request.configs) == [
        "harm3-no-ld-vae",
        "harm3-no-attention-1",
        "harm3-no-attention-2",
        "harm3-ld-vae-only",
        "harm3",
    ]
    switches = [
        (c.model.ld_vae, c.model.attention_1, c.model.attention_2)
        for c in request.configs.values()
    ]
    assert switches == [
        (False, True, True),
        (True, False, True),
        (True, True, False),
        (True, False, False),
        (True, True, True),
    ]


@pytest.mark.parametrize(
    ("columns", "label", "why"),
    [
        ({}, lambda n: n > 1, "Only 2 cases with no pCR"),
        ({"fold": lambda n: n % 2}, lambda n: n % 2, "holds only cases with pcr 0"),
        (
            {"fold": lambda n: n // 5, "patient_id": lambda n: f"P{n % 5}"},
            lambda n: n % 2,
            "splits patient P0",
        ),
        (
            {"t1_pre": lambda n: f"HN-{max(n, 1) + 1:04d}/t1_pre.nii.gz"},
            lambda n: n % 2,
            r"HN-0001 \(t1_pre\) and HN-0002 \(t1_pre\) have the same image",
        ),
        ({"wsi": lambda n: ""}, lambda n: n % 2, "Only 0 cases with pCR"),
    ],
)
def test_what_is_wrong_is_said_before_any_training(
    prepared_cohort, tmp_path, columns, label, why
):
    cohort = relabelled(prepared_cohort, "wrong", lambda n: int(label(n)), **columns)
    request = asked(cohort, tmp_path)

    with pytest.raises(Harm3Error, match=why):
        result_of(reproduce("table1", request))

    assert not list(tmp_path.glob("*/fold-*"))


def test_a_table_that_cannot_be_dealt_is_refused_before_it_costs_time(
    prepared_cohort, tmp_path
):
    cohort = relabelled(prepared_cohort, "one-class", lambda n: 0)
    config = replace(RunConfig.of("harm3", "small"), folds=2)

    with pytest.raises(Harm3Error, match="Only 0 cases have pcr 1"):
        next(train(cohort, run=tmp_path / "run", config=config, device="cpu"))

    assert not (tmp_path / "run").exists()


def test_a_method_needs_no_more_than_it_looks_at(prepared_cohort, tmp_path):
    cohort = relabelled(
        prepared_cohort,
        "slides-only",
        lambda n: n % 2,
        t1_pre=lambda n: "",
        mask_t1_pre=lambda n: "",
    )
    config = replace(RunConfig.of("abmil", "small", epochs=1), folds=2)
    work = cohort.parent / ".harm3"

    result = result_of(
        train(cohort, run=tmp_path / "abmil", config=config, work=work, device="cpu")
    )

    assert result["metrics"]["n"] == 10
    with pytest.raises(TrainingError, match="No case has a label and all that harm3"):
        result_of(
            train(
                cohort,
                run=tmp_path / "harm3",
                config=replace(RunConfig.of("harm3", "small", epochs=1), folds=2),
                work=work,
                device="cpu",
            )
        )


def test_whoever_can_do_without_learns_from_incomplete_cases(prepared_cohort, tmp_path):
    cohort = relabelled(
        prepared_cohort,
        "incomplete",
        lambda n: n % 2,
        t2_post=lambda n: "" if n == 2 else f"HN-{n + 1:04d}/t2_post.nii.gz",
        mask_t2_post=lambda n: "",
        wsi=lambda n: "" if n == 3 else f"HN-{n + 1:04d}/biopsy.tif",
    )
    config = replace(RunConfig.of("harm3-x", "small", epochs=1), folds=2)

    result = result_of(
        train(
            cohort,
            run=tmp_path,
            config=config,
            work=cohort.parent / ".harm3",
            device="cpu",
        )
    )

    about = json.loads((tmp_path / "fold-0" / "best.json").read_text())
    assert result["metrics"]["n"] == 10
    assert set(about["auc_when_missing"]) == {"wsi", "t1", "t2", "pre", "post", "mri"}


def test_a_clinical_branch_reads_the_table(prepared_cohort, tmp_path):
    cohort = relabelled(
        prepared_cohort,
        "clinical",
        lambda n: n % 2,
        stage=lambda n: "IV" if n % 2 else "II",
        age=lambda n: "" if n == 4 else 50 + n,
    )
    config = replace(RunConfig.of("clinical", "small"), folds=2)
    run = tmp_path / "run"
    work = cohort.parent / ".harm3"

    result = result_of(train(cohort, run=run, config=config, work=work, device="cpu"))

    assert result["metrics"]["auc"]["mean"] == 1.0  # the stage tells it
    again = result_of(evaluate(run))
    assert again["metrics"]["auc"] == result["metrics"]["auc"]


@pytest.fixture
def own_method(monkeypatch):
    """Install a method of another package, as its entry point would."""
    entry = ModelEntry(
        name="ours-too",
        title="A network of another package",
        reference="nobody",
        modalities=("mri", "wsi"),
        network="another_package:Network",
        sizes={"small": SMALL_HARM3, "full": SMALL_HARM3},
    )

    class Point:
        name = "ours-too"

        def load(self):
            return entry

    from napari_harm3.models.harm3.network import Harm3

    module = ModuleType("another_package")
    module.Network = Harm3
    monkeypatch.setitem(sys.modules, "another_package", module)
    registry._own.cache_clear()
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [Point()] if group else []
    )
    yield entry.name
    registry._own.cache_clear()


def test_an_own_method_stands_in_the_table_without_a_fork(
    own_method, balanced, tmp_path
):
    request = asked(balanced, tmp_path, methods=(own_method,))

    result = result_of(reproduce("table1", request))

    ours, harm3 = (row["metrics"] for row in result["rows"])
    assert ours["auc"] == harm3["auc"]  # it is the same network
    assert own_method in registry.method_names()


def test_an_own_method_that_does_not_load_is_one_sentence(own_method, monkeypatch):
    class Broken:
        name = "broken"

        def load(self):
            raise ImportError("no such thing")

    registry._own.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda group: [Broken()])

    with pytest.raises(Harm3Error, match="'broken' does not load"):
        registry.model_entry("broken")


def test_the_cohort_is_left_as_it_was(table, balanced):
    assert [case.pcr for case in read_cohort(balanced).cases] == [0, 1] * 5
