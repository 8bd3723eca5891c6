"""Wishes for a preview of the tissue, and the end of the thread that grants them."""

from threading import Event

import pytest

from napari_harm3.plugin.tissue_preview import TissuePreview


@pytest.fixture
def previews(monkeypatch):
    """Return a preview that grants no wish before it is closed, and its futures."""
    preview, closed, futures = TissuePreview(), Event(), []
    submit = preview._pool.submit

    def submitted(*work):
        futures.append(submit(*work))
        return futures[-1]

    monkeypatch.setattr(preview._pool, "submit", submitted)
    monkeypatch.setattr(preview, "_carry_out", lambda _: closed.wait(60))
    yield preview, closed, futures
    closed.set()


def test_a_wish_that_waits_while_the_panel_closes_is_no_bug(previews, caplog):
    preview, closed, futures = previews
    preview.ask(None)
    preview.ask(None)
    futures[1].add_done_callback(lambda _: closed.set())

    preview.close()

    assert futures[1].cancelled()
    assert caplog.records == []
