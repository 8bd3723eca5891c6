"""The next batch is made meanwhile, in order, and its faults are not lost."""

import threading
import time

import pytest

from napari_harm3.training.ahead import Ahead


def test_items_come_in_order_and_are_made_elsewhere():
    makers = []

    def made():
        for number in range(5):
            makers.append(threading.current_thread())
            yield number

    assert list(Ahead(made())) == [0, 1, 2, 3, 4]
    assert threading.main_thread() not in makers


def test_the_next_is_begun_before_it_is_asked_for():
    begun = threading.Event()

    def made():
        yield "first"
        begun.set()
        yield "second"

    items = iter(Ahead(made()))
    assert next(items) == "first"
    assert begun.wait(10)
    assert list(items) == ["second"]


def test_what_is_waited_for_is_counted():
    def made():
        time.sleep(0.05)
        yield 1

    ahead = Ahead(made())
    list(ahead)
    assert ahead.waited >= 0.04


def test_a_fault_is_raised_where_the_item_was_due():
    def made():
        yield 1
        raise ValueError("spoilt")

    items = iter(Ahead(made()))
    assert next(items) == 1
    with pytest.raises(ValueError, match="spoilt"):
        next(items)
