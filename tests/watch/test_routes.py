"""Routes that an application finds by itself, as requests below middleware do."""

from __future__ import annotations

import httpx

from tests.conftest import Serve
from tests.watch.test_inspect import APPS


def test_an_endpoint_is_described_once(serve: Serve) -> None:
    served = serve("routed:app", "--lifespan=off", app_dir=APPS)
    with httpx.Client(base_url=served.url) as client:
        answers = [[client.get(path).text for path in ("/one", "/two")] for _ in range(4)]
    assert answers == [["0", "0"], ["1", "1"], ["1", "1"], ["1", "1"]]
