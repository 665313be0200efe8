"""The compiled routes of an application under test: made once for all the loops that it is served on."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overdrive._overdrive import Engine
    from overdrive.compiler import Compilation
    from overdrive.compiler.mounts import Mounts

# Where an application keeps what was compiled of it: both then go together.
ATTRIBUTE = "_overdrive_compiled"


class CompiledApplication:
    """The plans of a FastAPI application.

    `is_stale`: there are none yet, or a request has found that they hold no longer.
    """

    def __init__(self, app: Any) -> None:
        self.is_stale = True
        self._app = app
        self._compilation: Compilation | None = None
        self._mounts: Mounts | None = None
        self._lock = threading.Lock()

    @property
    def reason(self) -> str | None:
        """Why nothing could be compiled, if that is so."""
        return self._compilation.reason if self._compilation is not None else None

    def compile_for(self, engine: Engine) -> None:
        """Lets plans answer on `engine`, compiled anew if need be; within the loop, as middleware may want one."""
        with self._lock:
            if self.is_stale:
                self._compilation = self._compile()
        compilation = self._compilation
        if compilation is not None and compilation.is_direct:
            engine.set_plans(compilation.plans)

    def _compile(self) -> Compilation | None:
        from overdrive import compiler
        from overdrive.compiler.mounts import Mounts

        app = self._app
        if app.middleware_stack is None:
            try:
                app.middleware_stack = app.build_middleware_stack()
            except Exception:
                # The request fails of it, too, and tells whoever made it.
                return None
        self.is_stale = False
        if self._mounts is None:
            self._mounts = Mounts()
        compilation = compiler.compile_application(app, self._has_changed, mounts=self._mounts)
        if compilation.has_middleware:
            compilation.install()
        return compilation

    def _has_changed(self) -> None:
        self.is_stale = True


def compiled(app: Any) -> CompiledApplication | None:
    """What is compiled of `app`, be it by another client; None if it is none of FastAPI's."""
    if "fastapi" not in sys.modules:
        return None
    try:
        from overdrive import compiler
    except ImportError:
        # A release of FastAPI that lacks what the compiler looks at.
        return None

    if not compiler.is_application(app):
        return None
    known: CompiledApplication = vars(app).setdefault(ATTRIBUTE, CompiledApplication(app))
    return known
