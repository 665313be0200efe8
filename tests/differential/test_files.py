"""Files as responses: every header, every range, every refusal as Starlette's."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.differential.pair import Case, Pair, case, table
from tests.differential.wire import Answer, Request, get, method, post

LEFT = "exit session"
# Of the small file, and of the moment at which all were made.
MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"


@pytest.fixture(params=["files", "files_layered"])
def files(request: pytest.FixtureRequest, pair_of: Callable[..., Pair]) -> Pair:
    """The application, and the same below middleware."""
    return pair_of(request.param)


def ranged(value: str, name: str = "small", *more: tuple[str, str]) -> Request:
    return get(f"/files/{name}.txt", ("range", value), *more)


FILES: dict[str, Case] = {
    "empty": case(get("/files/empty.txt"), 200, "content-length: 0", LEFT),
    "small": case(get("/files/small.txt"), 200, MODIFIED, LEFT),
    "middle": case(get("/files/middle.txt"), 200, "content-length: 65536", LEFT),
    "large": case(get("/files/large.txt"), 200, "content-length: 1000003", LEFT),
    "head": case(method("HEAD", "/files/large.txt"), 200, "content-length: 1000003", LEFT),
    "head-of-a-range": case(method("HEAD", "/files/large.txt", ("range", "bytes=0-4")), 206, "bytes 0-4/1000003", LEFT),
    "post": case(post("/files/small.txt", b""), 200, "abc", LEFT),
    "post-for-a-range": case(post("/files/small.txt", b"", ("range", "bytes=0-4")), 200, "abc", LEFT),
    "in-thread": case(get("/in-thread/small.txt"), 200, "injected background", "injected background"),
    "head-in-thread": case(method("HEAD", "/in-thread/small.txt"), 200, "injected", "injected background"),
    "relative": case(get("/relative"), 200, "abcdef"),
    "status": case(get("/options?status=201"), 201, "x-own: 1"),
    "status-and-range": case(get("/options?status=201", ("range", "bytes=0-4")), 201, "xyz"),
    "named": case(get("/options?filename=a.csv"), 200, 'attachment; filename="a.csv"'),
    "named-inline": case(get("/options?filename=%C3%A9&disposition=inline"), 200, "inline; filename*=utf-8''%C3%A9"),
    "typed": case(get("/options?media_type=application/x-own"), 200, "content-type: application/x-own"),
    "known": case(get("/options?known=1"), 200, MODIFIED),
    "known-and-range": case(get("/options?known=1", ("range", "bytes=3-")), 206, "bytes 3-25/26"),
    "declared": case(get("/declared"), 200, "x-injected: yes", LEFT),
    "declared-status": case(get("/declared-status"), 202, "abc"),
    "odd-name": case(get("/odd-name"), 200, "%C3%A9%20%C3%BC.bin"),
    "missing": case(get("/files/missing.txt"), 500, "does not exist", LEFT),
    "missing-for-head": case(method("HEAD", "/files/missing.txt"), 500, "does not exist", LEFT),
    "folder": case(get("/folder"), 500, "is not a file", LEFT),
    "below-a-file": case(get("/below-a-file"), 500, "NotADirectoryError", LEFT),
    "nul": case(get("/nul"), 500, "ValueError", LEFT),
    "said-rightly": case(get("/said/26"), 200, "abc", LEFT),
    "removed-after": case(get("/removed-after"), 200, "removed", "removed"),
    "overridden": case(get("/class/o"), 200, "handles"),
    "called": case(get("/class/c"), 200, "is called"),
    "few-ranges": case(get("/class/f", ("range", "bytes=0-1,4-5")), 200, "xyz"),
    "few-bytes": case(get("/class/f"), 200, "xyz"),
    "etag-of-its-own": case(get("/class/m"), 200, 'etag: "own"'),
    "etag-of-its-own-in-if-range": case(
        get("/class/m", ("range", "bytes=0-1"), ("if-range", '"own"')), 206, "bytes 0-1/26"
    ),
    "headers-that-were-changed": case(get("/changed"), 206, "bytes 1-2/26"),
    "background-fails": case(get("/fails"), 200, "ValueError", LEFT),
    "of-none": case(get("/files/small"), 500, "does not exist", LEFT),
    "range-first": case(ranged("bytes=0-0"), 206, "bytes 0-0/26", LEFT),
    "range-of-a-large-file": case(ranged("bytes=100000-900000", "large"), 206, "bytes 100000-900000/1000003", LEFT),
    "range-to-the-end": case(ranged("bytes=5-"), 206, "bytes 5-25/26", LEFT),
    "range-from-the-end": case(ranged("bytes=-5"), 206, "bytes 21-25/26", LEFT),
    "range-longer-than-the-file": case(ranged("bytes=-500"), 206, "bytes 0-25/26", LEFT),
    "range-beyond-the-end": case(ranged("bytes=5-500"), 206, "bytes 5-25/26", LEFT),
    "range-with-blanks": case(ranged(" Bytes = 1 - 2 "), 206, "bytes 1-2/26", LEFT),
    "range-behind-the-end": case(ranged("bytes=26-"), 416, "bytes */26", LEFT),
    "range-of-an-empty-file": case(ranged("bytes=0-", "empty"), 416, "bytes */0", LEFT),
    "range-backwards": case(ranged("bytes=5-2"), 400, "start must be less", LEFT),
    "range-without-units": case(ranged("0-5"), 400, "Malformed", LEFT),
    "range-of-other-units": case(ranged("lines=0-5"), 400, "Only support bytes", LEFT),
    "range-of-nothing": case(ranged("bytes="), 400, "must be requested", LEFT),
    "range-of-a-dash": case(ranged("bytes=-"), 400, "must be requested", LEFT),
    "range-of-words": case(ranged("bytes=a-b"), 400, "must be requested", LEFT),
    "range-of-too-many": case(ranged(f"bytes={','.join(['0-1'] * 200)}"), 200, "xyz", LEFT),
    "ranges-that-overlap": case(ranged("bytes=0-5,3-8"), 206, "ghi", LEFT),
    "ranges-one-not-there": case(ranged("bytes=0-1,50-60"), 416, "bytes */26", LEFT),
    "if-range-modified": case(ranged("bytes=0-1", "small", ("if-range", MODIFIED)), 206, "bytes 0-1/26", LEFT),
    "if-range-other": case(ranged("bytes=0-1", "small", ("if-range", '"other"')), 200, "xyz", LEFT),
    "if-range-weak": case(ranged("bytes=0-1", "small", ("if-range", 'W/"other"')), 200, "xyz", LEFT),
    "not-modified-is-not-asked": case(get("/files/small.txt", ("if-modified-since", MODIFIED)), 200, "xyz", LEFT),
    "two-range-headers": case(
        get("/files/small.txt", ("range", "bytes=0-1"), ("range", "bytes=3-4")), 206, "bytes 0-1/26", LEFT
    ),
}


@table(FILES)
def test_a_file_is_sent_as_by_starlette(files: Pair, case: Case) -> None:
    files.check(case)


# Below middleware the engine itself opens the file, before anything was sent: an error is then answered with 500, as
# docs/differences.md says.
ODD: dict[str, Case] = {
    "folder-known": case(get("/folder-known"), 200, "IsADirectoryError", LEFT),
    "vanished": case(get("/vanished"), 200, "FileNotFoundError", LEFT),
    "shorter-than-known": case(get("/sizes/100/90"), 200, "RuntimeError", LEFT),
    "longer-than-known": case(get("/sizes/90/100"), 200, "RuntimeError", LEFT),
    "large-and-shorter-than-known": case(get("/sizes/900000/400000"), 200, "RuntimeError", LEFT),
    "large-and-longer-than-known": case(get("/sizes/400000/900000"), 200, "RuntimeError", LEFT),
    "range-of-one-that-is-shorter": case(
        get("/sizes/900000/400000", ("range", "bytes=300000-500000")), 206, "RuntimeError", LEFT
    ),
    "range-of-one-that-is-longer": case(
        get("/sizes/400000/900000", ("range", "bytes=300000-")), 206, "bytes 300000-399999/400000", LEFT
    ),
    "said-short": case(get("/said/20"), 200, "RuntimeError", LEFT),
    "said-long": case(get("/said/30"), 200, "RuntimeError", LEFT),
}


@table(ODD)
def test_what_is_odd_about_a_file_shows_as_with_starlette(pair_of: Callable[..., Pair], case: Case) -> None:
    pair_of("files").check(case)


def test_an_etag_makes_a_range(files: Pair) -> None:
    etag = files.same(get("/files/small.txt"), LEFT).header("etag")
    assert etag is not None
    files.check(case(ranged("bytes=0-1", "small", ("if-range", etag)), 206, "bytes 0-1/26", LEFT))


@pytest.mark.parametrize(
    ("name", "value"),
    [("small", "bytes=0-1,4-5"), ("small", "bytes=20-,0-1"), ("large", "bytes=0-300000,500000-999999,400000-400000")],
)
@pytest.mark.parametrize("verb", ["GET", "HEAD"])
def test_several_ranges_are_sent_with_a_boundary(files: Pair, verb: str, name: str, value: str) -> None:
    told = []
    for side in (files.uvicorn, files.overdrive):
        answer = side.answer(method(verb, f"/files/{name}.txt", ("range", value)))
        assert isinstance(answer, Answer)
        assert (answer.status, answer.cut) == (206, False)
        said = answer.header("content-type")
        assert said is not None
        found = re.fullmatch("multipart/byteranges; boundary=([0-9a-f]{26})", said)
        assert found is not None, said
        headers = {key: value for key, value in answer.headers if key not in ("content-type", "date", "server")}
        told.append((headers, answer.body.replace(found[1].encode(), b"BOUNDARY")))
    files.forget()
    assert told[0] == told[1]
    assert (told[0][1] == b"") == (verb == "HEAD")


def test_files_are_sent_by_plans(files: Pair) -> None:
    log = files.overdrive.served.log
    assert re.search(r"Compiled (\d+) (of \1 )?routes", log), log


READ = [
    "/file",
    *(f"/{where}/file" for where in ("plain", "read", "whole", "gzip", "starlette")),
    *(f"/{where}/static/middle.txt" for where in ("plain", "read", "whole", "gzip")),
    "/mounted/middle.txt",
]


@pytest.mark.parametrize("path", READ)
def test_files_below_what_reads_them(pair_of: Callable[..., Pair], path: str) -> None:
    """Middleware that knows responses with bodies alone gets the files' bodies."""
    pair_of("files_read").check(case(get(path, ("accept-encoding", "gzip")), 200))


@pytest.mark.parametrize("path", ["/file", "/static/middle.txt"])
def test_files_of_an_application_that_is_wrapped(pair_of: Callable[..., Pair], path: str) -> None:
    pair_of("files_wrapped").check(case(get(path, ("accept-encoding", "gzip")), 200, "content-encoding: gzip"))
