"""overdrive runs FastAPI and any other ASGI application on a Rust engine inside the asyncio loop.

    import overdrive
    overdrive.run("main:app", port=8000, workers=4)

An application whose routes are compiled, for any ASGI server:

    app = overdrive.compile(api)

Within a loop that runs already:

    await overdrive.Server(overdrive.Config("main:app")).serve()
"""

from overdrive._overdrive import __version__
from overdrive.config import Config
from overdrive.errors import ConfigError, EventLoopBlocked, StartupError
from overdrive.main import run
from overdrive.plans import compile, uncompiled
from overdrive.server import Server

__all__ = [
    "Config",
    "ConfigError",
    "EventLoopBlocked",
    "Server",
    "StartupError",
    "__version__",
    "compile",
    "run",
    "uncompiled",
]
