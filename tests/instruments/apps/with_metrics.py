"""An application with a meter provider of its own, which tells what was measured."""

from fastapi import FastAPI
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
app = FastAPI()


@app.get("/items/{number}")
async def item(number: int):
    return number


@app.get("/thread")
def thread():
    return 1


@app.get("/measured")
def measured():
    """Each metric's points, attributes and value, of those that are not FastAPI's own."""
    data = reader.get_metrics_data()
    found = {}
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            if scope.scope.name == "fastapi":
                continue
            for metric in scope.metrics:
                points = [(dict(point.attributes), point.value) for point in metric.data.data_points]
                found[metric.name] = {"scope": scope.scope.name, "unit": metric.unit, "points": points}
    return found
