"""Randomness is keyed by what it is for, never by what came before."""

import numpy as np
import pytest
import torch

from napari_harm3.training.seeding import batches_of, reproducible, seed_of


def test_every_number_of_a_key_and_their_order_matter():
    seeds = {seed_of(*key) for key in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0, 0)]}

    assert len(seeds) >= 4
    assert seed_of(3, 1, 4) == seed_of(3, 1, 4)
    assert seed_of(0, 1) != seed_of(1, 0)


def test_an_epoch_shows_every_case_once_in_an_order_of_its_own():
    first, second = (batches_of(21, 8, (0, 0, epoch)) for epoch in (0, 1))

    for batches in (first, second):
        assert sorted(np.concatenate(batches)) == list(range(21))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))


@pytest.mark.parametrize("size", [2, 3, 8])
def test_no_batch_holds_a_case_alone(size):
    for count in range(2, 60):
        sizes = [len(batch) for batch in batches_of(count, size, (0,))]

        assert min(sizes) >= 2, count
        assert max(sizes) <= max(size, 3)
        assert max(sizes) - min(sizes) <= 1
    assert [len(batch) for batch in batches_of(1, size, (0,))] == [1]


def test_settings_of_torch_are_given_back():
    threads = torch.get_num_threads()

    with reproducible(threads=1):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()

    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
