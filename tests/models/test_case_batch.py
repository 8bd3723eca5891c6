"""A batch can be moved and repeated, whatever its fields are."""

from dataclasses import fields, make_dataclass

import pytest
import torch

from model_cases import case_batch
from napari_harm3.models.interface import CaseBatch


@pytest.mark.parametrize("row", [0, 2])
def test_a_case_is_repeated_with_every_field(row: int) -> None:
    batch = case_batch(3)

    many = batch.repeated(row, 4)

    for item in fields(batch):
        value, found = getattr(batch, item.name), getattr(many, item.name)
        if isinstance(value, torch.Tensor):
            assert found.shape == (4, *value.shape[1:])
            assert all(
                torch.equal(one, value[row].nan_to_num()) for one in found.nan_to_num()
            )
        else:
            assert found is value


def test_a_field_that_is_added_is_repeated_too() -> None:
    kind = make_dataclass(
        "More", [("dose", torch.Tensor)], bases=(CaseBatch,), frozen=True, kw_only=True
    )
    known = {item.name: getattr(case_batch(2), item.name) for item in fields(CaseBatch)}

    many = kind(**known, dose=torch.tensor([1.0, 2.0])).repeated(1, 3)

    assert many.dose.tolist() == [2, 2, 2]
