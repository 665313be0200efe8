"""Endpoints that hand work to a taskiq worker through Redis, and the tasks that the worker runs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException
from pydantic import BaseModel
from taskiq import AsyncBroker
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

results: RedisAsyncResultBackend[object] = RedisAsyncResultBackend(os.environ["REDIS"])
broker = ListQueueBroker(os.environ["REDIS"]).with_result_backend(results)


@broker.task
async def add(left: int, right: int) -> int:
    """Runs in the worker."""
    return left + right


@broker.task
async def fail(reason: str) -> None:
    """Fails in the worker."""
    raise ValueError(reason)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


app = FastAPI(lifespan=lifespan)


async def queue() -> AsyncIterator[AsyncBroker]:
    yield broker


class Sum(BaseModel):
    left: int
    right: int


class Job(BaseModel):
    job: str


class Outcome(BaseModel):
    value: int | None
    error: str | None


@app.post("/sums", status_code=202)
async def create_sum(wanted: Sum, broker: Annotated[AsyncBroker, Depends(queue)]) -> Job:
    task = broker.find_task(f"{__name__}:add")
    assert task is not None
    return Job(job=(await task.kiq(wanted.left, wanted.right)).task_id)


@app.post("/failures/{reason}", status_code=202)
async def create_failure(reason: str) -> Job:
    return Job(job=(await fail.kiq(reason)).task_id)


@app.post("/later/{job}", status_code=202)
async def create_later(job: str, wanted: Sum, background: BackgroundTasks) -> None:
    """The job is handed over after the answer."""
    background.add_task(add.kicker().with_task_id(job).kiq, wanted.left, wanted.right)


@app.get("/jobs/{job}")
async def read_job(job: str) -> Outcome:
    if not await results.is_result_ready(job):
        raise HTTPException(404, "not ready")
    found = await results.get_result(job)
    return Outcome(value=found.return_value, error=str(found.error) if found.is_err else None)
