"""The compiled routes of an application under test: made once for all the loops that it is served on."""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overdrive._overdrive import Engine
    from overdrive.compiler import Compilation


class CompiledApplication:
    """An application's plans. `is_stale`: there are none yet, or a request has found that they hold no longer."""

    def __init__(self, app: Any) -> None:
        self.is_stale = True
        # The application is not kept alive by what is kept of it.
        self._app = weakref.ref(app)
        self._compilation: Compilation | None = None
        self._lock = threading.Lock()

    def compile_for(self, engine: Engine) -> None:
        """Lets plans answer on `engine`, compiled anew if need be; within the loop, as middleware may want one."""
        with self._lock:
            if self.is_stale:
                self._compilation = self._compile()
        compilation = self._compilation
        if compilation is not None and compilation.is_direct:
            engine.set_plans(compilation.plans)

    def _compile(self) -> Compilation | None:
        self.is_stale = False
        app = self._app()
        if app is None or "fastapi" not in sys.modules:
            return None
        from overdrive import compiler

        if not compiler.is_application(app):
            return None
        if app.middleware_stack is None:
            try:
                app.middleware_stack = app.build_middleware_stack()
            except Exception:
                # The request fails of it, too, and tells whoever made it.
                self.is_stale = True
                return None
        compilation = compiler.compile_application(app, self._has_changed)
        if not compilation.is_direct:
            compilation.install()
        return compilation

    def _has_changed(self) -> None:
        self.is_stale = True


class Uncompiled(CompiledApplication):
    """An application that is served as it is."""

    def __init__(self) -> None:
        self.is_stale = False

    def compile_for(self, engine: Engine) -> None:
        """Does nothing."""


_known: weakref.WeakKeyDictionary[Any, CompiledApplication] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def compiled(app: Any, *, wanted: bool = True) -> CompiledApplication:
    """What is known of `app`, be it from other clients."""
    if not wanted:
        return Uncompiled()
    try:
        with _lock:
            return _known.setdefault(app, CompiledApplication(app))
    except TypeError:
        # Neither hashed nor referred to weakly: no application of FastAPI's.
        return Uncompiled()
