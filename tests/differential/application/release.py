"""What the installed release of FastAPI offers; `tests/releases` serves the applications with older ones."""

from __future__ import annotations

import re

import fastapi

_RELEASE = tuple(int(part) for part in re.findall(r"\d+", fastapi.__version__)[:3])

# Limits of bodies, and of how many run a dependency at once.
HAS_LIMITS = _RELEASE >= (0, 165)
# A parameter model that may be None.
HAS_OPTIONAL_MODELS = _RELEASE >= (0, 159)
# The cases say what stock FastAPI answers in this release and later ones.
IS_AS_WRITTEN = HAS_LIMITS
