"""prometheus-fastapi-instrumentator, with all that it can tell of requests."""

from __future__ import annotations

from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator, metrics
from routes import add_routes

app = FastAPI()
add_routes(app)
instrumentator = Instrumentator(should_instrument_requests_inprogress=True, inprogress_labels=True)
instrumentator.add(metrics.default())
instrumentator.add(metrics.requests())
instrumentator.instrument(app).expose(app)
