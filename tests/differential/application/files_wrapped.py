"""An application that is wrapped by hand."""

from __future__ import annotations

from .files_read import wrapped as app

__all__ = ["app"]
