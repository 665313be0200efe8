"""The same application, compiled for a server that is not overdrive."""

from features import app as api

import overdrive

app = overdrive.compile(api)
