"""What tests/test_frameworks.py asks of every framework, on Django: a project in one file."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for tests",
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "loggers": {"django.request": {"handlers": ["console"], "level": "ERROR"}},
    },
)
django.setup()


async def who(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"framework": "django"})


async def greet(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(f"Hello, {name}{request.GET.get('mark', '.')}", content_type="text/plain; charset=utf-8")


async def total(request: HttpRequest) -> HttpResponse:
    try:
        numbers = json.loads(request.body)
    except ValueError:
        return HttpResponse("not JSON", status=400)
    return JsonResponse({"total": sum(numbers)})


async def digest(request: HttpRequest) -> HttpResponse:
    # Django has spooled the body to a file by now; read() does not pull it into memory as a whole.
    size, sha256 = 0, hashlib.sha256()
    while chunk := request.read(65536):
        size += len(chunk)
        sha256.update(chunk)
    return JsonResponse({"size": size, "sha256": sha256.hexdigest()})


async def count(request: HttpRequest) -> HttpResponseBase:
    async def lines() -> AsyncIterator[str]:
        for number in range(int(request.GET["lines"])):
            yield f"line {number}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


async def endless(request: HttpRequest) -> HttpResponseBase:
    async def lines() -> AsyncIterator[str]:
        try:
            while True:
                yield "still here\n"
                await asyncio.sleep(0.02)
        finally:
            print("the endless stream ended")

    return StreamingHttpResponse(lines(), content_type="text/plain")


async def cookies(request: HttpRequest) -> HttpResponse:
    response = HttpResponse()
    response.set_cookie("first", "1")
    response.set_cookie("second", "2")
    return response


async def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


def on_thread(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"main_thread": threading.current_thread() is threading.main_thread()})


def file(request: HttpRequest) -> HttpResponseBase:
    return FileResponse(open(__file__, "rb"))


async def fail(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("failed on purpose")


async def fail_late(request: HttpRequest) -> HttpResponseBase:
    async def lines() -> AsyncIterator[str]:
        yield "so far, so good\n"
        raise RuntimeError("failed late, on purpose")

    return StreamingHttpResponse(lines(), content_type="text/plain")


urlpatterns = [
    path("who", who),
    path("greet/<str:name>", greet),
    path("total", total),
    path("digest", digest),
    path("count", count),
    path("endless", endless),
    path("cookies", cookies),
    path("nothing", nothing),
    path("thread", on_thread),
    path("file", file),
    path("fail", fail),
    path("fail-late", fail_late),
]

app = get_asgi_application()
