"""Every way to block the loop or to lose work, an endpoint each; and a few that do nothing wrong.

The comment at the end of a line is what a test looks it up by: the line that is to be told of.
"""

# It is there for its faults.
# ruff: noqa: ASYNC210, RUF006

import asyncio
import contextlib
import gc
import hashlib
import json
import os
import re
import sqlite3
import tempfile
import threading
import time
import urllib.request
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import anyio.from_thread
import anyio.to_thread
import requests
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket

PAUSE = 0.4
folder = Path(tempfile.mkdtemp())


class Slow(BaseHTTPRequestHandler):
    """Answers late."""

    def do_GET(self) -> None:
        """Waits, and answers."""
        time.sleep(PAUSE)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


slow_server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
threading.Thread(target=slow_server.serve_forever, daemon=True).start()
slow_url = f"http://127.0.0.1:{slow_server.server_port}/"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    if os.environ.get("SLOW_START"):
        time.sleep(PAUSE)  # start-up
    yield


app = FastAPI(lifespan=lifespan, openapi_url=None)
kept: set[asyncio.Task[None]] = set()


@app.get("/fine")
async def fine() -> str:
    await asyncio.sleep(0.001)
    return "fine"


@app.get("/fine-def/{number}")
def fine_def(number: int) -> int:
    return number


@app.get("/sleep")
async def sleep() -> str:
    time.sleep(PAUSE)  # sleep
    return "slept"


@app.get("/long-sleep")
async def long_sleep() -> str:
    print("asleep", flush=True)
    time.sleep(5 * PAUSE)  # long-sleep
    return "slept"


async def rest() -> None:
    await deeper()


async def deeper() -> None:
    time.sleep(PAUSE)  # dependency


@app.get("/dependency")
async def dependency(rested: Annotated[None, Depends(rest)]) -> str:
    return "rested"


@app.get("/database")
async def database() -> list[tuple[int]]:
    path = folder / "gallery.db"
    with sqlite3.connect(path) as holder:
        holder.execute("CREATE TABLE IF NOT EXISTS t (x)")
        holder.execute("BEGIN EXCLUSIVE")
        waiter = sqlite3.connect(path, timeout=PAUSE)
        try:
            return waiter.execute("SELECT x FROM t").fetchall()  # database
        except sqlite3.OperationalError:
            return []
        finally:
            waiter.close()
            holder.execute("ROLLBACK")


@app.get("/requests")
async def with_requests() -> int:
    return requests.get(slow_url, timeout=5).status_code  # requests


@app.get("/urllib")
async def with_urllib() -> int:
    with urllib.request.urlopen(slow_url) as response:  # urllib
        return int(response.status)


@app.get("/cpu")
async def cpu() -> int:
    total = 0
    for _ in range(1500):
        total += sum(range(20_000))  # cpu
    return total


@app.get("/regex")
async def regex() -> bool:
    return bool(re.match(r"(a+)+$", "a" * 24 + "b"))  # regex


big = f"[{', '.join([json.dumps({'number': 1, 'text': 'x' * 20})] * 600_000)}]"


@app.get("/json")
async def big_json() -> int:
    return len(json.loads(big))  # json


@app.get("/hash")
async def hashed() -> str:
    return hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 600_000).hex()  # hash


@app.get("/file")
async def file() -> int:
    path = folder / "pipe"
    if not path.exists():
        os.mkfifo(path)

    def write() -> None:
        time.sleep(PAUSE)
        path.write_bytes(b"late")

    threading.Thread(target=write).start()
    return len(path.read_bytes())  # file


@app.get("/join")
async def join() -> str:
    future: Future[str] = Future()
    threading.Timer(PAUSE, future.set_result, ["joined"]).start()
    return future.result()  # join


@app.get("/background")
async def background(tasks: BackgroundTasks) -> str:
    tasks.add_task(after)
    return "soon"


async def after() -> None:
    time.sleep(PAUSE)  # background


@app.get("/timer")
async def timer() -> str:
    asyncio.get_running_loop().call_later(0.01, late)
    return "soon"


def late() -> None:
    time.sleep(PAUSE)  # timer


@app.get("/task")
async def task() -> str:
    kept.add(asyncio.create_task(aside(), name="aside"))
    return "soon"


async def aside() -> None:
    await asyncio.sleep(0.01)
    time.sleep(PAUSE)  # task


@app.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    time.sleep(PAUSE)  # socket
    await websocket.send_text("slept")


async def never() -> None:
    """Nobody will know."""


@app.get("/unawaited")
async def unawaited() -> str:
    never()  # unawaited
    return "done"


@app.get("/lost")
async def lost() -> str:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    asyncio.create_task(wait())
    return "lost"


many: list[list[int]] = []


@app.get("/many")
def make_many() -> int:
    gc.disable()
    many.extend([number] for number in range(2_000_000))
    gc.enable()
    return len(many)


@app.get("/collect")
async def collect() -> str:
    gc.collect()
    many.clear()
    return "collected"


@app.get("/raises-unseen")
async def raises_unseen() -> str:
    async def fail() -> None:
        raise LookupError("unseen")

    asyncio.create_task(fail())
    return "soon"


@app.get("/hold")
def hold() -> str:
    time.sleep(2.5)  # hold
    return "held"


def last() -> str:
    return "there was a thread left"


@app.get("/deadlock")
def deadlock() -> str:
    # It holds a thread, and waits for one: with all threads at this there is none left.
    return anyio.from_thread.run(anyio.to_thread.run_sync, last)  # deadlock


@app.get("/threads/{number}")
async def threads(number: int) -> int:
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = number
    return number


@app.get("/loop-deadlock")
async def loop_deadlock() -> str:
    # The thread needs the loop, which waits for the thread.
    running = asyncio.get_running_loop()

    def ask() -> str:
        return asyncio.run_coroutine_threadsafe(answer(), running).result(timeout=3)

    with ThreadPoolExecutor(1) as pool, contextlib.suppress(TimeoutError):
        pool.submit(ask).result()  # loop-deadlock
    return "released"


async def answer() -> str:
    return "answer"
