"""Blocking work inside an `async def` handler, handed to an executor: the loop stays free.

    overdrive executors:app --app-dir examples
    curl localhost:8000/thread & curl localhost:8000/process & curl localhost:8000/alive & wait

A thread is right for code that waits (a driver without an async version); a process is right for Python code that
computes, which would keep the interpreter's lock from the loop. `/alive` answers at once throughout. EXAMPLE_SECONDS
sets how long the work takes.
"""

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

SECONDS = float(os.environ.get("EXAMPLE_SECONDS", "2"))


class Pools(TypedDict):
    """What the lifespan lends to every request, as `request.state`."""

    threads: ThreadPoolExecutor
    processes: ProcessPoolExecutor


class Work(TypedDict):
    """When the work began and ended, in seconds of the monotonic clock, and in which process it was done."""

    began: float
    ended: float
    process: int


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[Pools]:
    """Opens both pools with the application and closes them with it."""
    # "spawn", because a fork of a server would inherit its sockets and its loop.
    spawn = multiprocessing.get_context("spawn")
    with (
        ThreadPoolExecutor(4) as threads,
        ProcessPoolExecutor(2, mp_context=spawn, initializer=leave_ctrl_c_to_the_server) as processes,
    ):
        yield {"threads": threads, "processes": processes}


def leave_ctrl_c_to_the_server() -> None:
    """A terminal sends Ctrl+C to the pool's processes, too; the lifespan ends them when their work is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


app = FastAPI(title="Work in executors", lifespan=lifespan)


def waiting() -> Work:
    """Waits as a blocking driver does, without using the processor."""
    began = time.monotonic()
    time.sleep(SECONDS)
    return {"began": began, "ended": time.monotonic(), "process": os.getpid()}


def computing() -> Work:
    """Keeps a processor busy with Python code."""
    began = time.monotonic()
    while time.monotonic() < began + SECONDS:
        sum(range(1000))
    return {"began": began, "ended": time.monotonic(), "process": os.getpid()}


@app.get("/thread")
async def thread(request: Request) -> Work:
    """Blocks a thread of the pool, in this process."""
    return await asyncio.get_running_loop().run_in_executor(request.state.threads, waiting)


@app.get("/process")
async def process(request: Request) -> Work:
    """Occupies another process; its first call also starts that process."""
    return await asyncio.get_running_loop().run_in_executor(request.state.processes, computing)


@app.get("/alive")
async def alive() -> Work:
    """Answers at once, whatever the pools are doing."""
    now = time.monotonic()
    return {"began": now, "ended": now, "process": os.getpid()}
