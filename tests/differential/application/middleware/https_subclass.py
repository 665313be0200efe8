"""The same with a subclass."""

from __future__ import annotations

from .https import Redirect, build

app = build(Redirect)
