"""Responses in pieces: generators as endpoints, streaming responses of all kinds, and what may go wrong in them."""

from __future__ import annotations

from ..journal import add_journal
from . import events, fails, included, lines, own, stays
from .shared import app

__all__ = ["app", "events", "fails", "included", "lines", "own", "stays"]

add_journal(app)
