"""A registration that was kept is used again, one that was spoilt is made anew."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from napari_harm3.cohort.case import Case
from napari_harm3.data.prepare import registered
from napari_harm3.mri import register as module
from napari_harm3.mri.register import Registration
from napari_harm3.mri.volume import Volume


@pytest.fixture
def asked(tmp_path, monkeypatch) -> tuple[Callable[[], Registration], list[int]]:
    """Return what asks for the same registration, and one entry for each search."""
    searched: list[int] = []

    def search(*_: object, **__: object) -> Registration:
        searched.append(1)
        return Registration(matrix=np.eye(4))

    monkeypatch.setattr(module, "register", search)
    volumes = {
        role: Volume(
            array=np.ones((2, 2, 2), np.float32),
            shape=(2, 2, 2),
            affine=np.eye(4),
            name=role,
            sha256=role,
        )
        for role in ("t1_pre", "t1_post")
    }

    def ask() -> Registration:
        case = Case(case_id="A", row=2)
        return registered(case, volumes, ("t1_post", "t1_pre"), tmp_path)

    return ask, searched


def test_it_is_searched_once(asked):
    ask, searched = asked

    ask()
    ask()

    assert len(searched) == 1


@pytest.mark.parametrize("spoilt", [{}, [], {"matrix": [[1, 2]]}, {"matrix": "x"}])
def test_a_spoilt_one_is_searched_again_and_kept_again(asked, tmp_path, spoilt):
    ask, searched = asked
    ask()
    path = tmp_path / "mri" / "A" / "t1_post-on-t1_pre.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"registration": spoilt}))

    again = ask()

    assert len(searched) == 2
    np.testing.assert_array_equal(again.matrix, np.eye(4))
    assert json.loads(path.read_text()) == whole
