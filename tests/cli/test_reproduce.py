"""``harm3 reproduce``: a table by somebody's file, which may be given away."""

import json
from dataclasses import replace

import pytest

from napari_harm3.config import read_toml, write_toml
from napari_harm3.training.config import RunConfig


@pytest.mark.slow
def test_a_table_is_made_by_a_file_and_says_nowhere_where_it_lay(
    harm3, balanced, run_config, tmp_path
):
    recipe, out = tmp_path / "given.toml", tmp_path / "tables"
    training = replace(run_config.training, epochs=1, learning_rate=0.01)
    write_toml(recipe, replace(run_config, seed=5, training=training))

    code, said, _ = harm3(
        *("reproduce", "table1", balanced, "--out", out, "--config", recipe),
        *("--methods", "majority", "--device", "cpu"),
        *("--work", balanced.parent / ".harm3"),
    )

    assert code == 0
    for name in ("majority", "harm3"):
        made = read_toml(out / name / "run.toml", RunConfig)
        assert (made.size, made.folds, made.seed) == ("small", 2, 5)
        assert made.training == training
    kept = json.loads((out / "table1.json").read_text())
    assert str(tmp_path) not in json.dumps(kept)
    assert kept["rows"] == said["rows"]
    assert kept["runs"] == {"majority": "majority", "harm3": "harm3"}
    for kind, name in kept["files"].items():
        assert said["files"][kind] == str((out / name).resolve())
    assert said["table"] == str((out / kept["table"]).resolve())
