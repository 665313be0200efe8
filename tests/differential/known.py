"""Differences that are known, by the test that shows each. A difference that is gone must go from here, too."""

from __future__ import annotations

INSIDE = "the inside of a route, changed while the server runs, does not count until the routes change"

REGEX = "a path_regex that was replaced, for paths in any case, is not looked at before the first literal differs"

KNOWN: dict[str, str] = {
    "test_overrides_count_for_what_follows_in_the_same_request": "overrides are looked at when a request begins",
    "test_the_inside_of_a_route_changed_before_the_start[path-regex-has]": REGEX,
    "test_the_inside_of_a_route_changed_before_the_start[path-regex-has-for-a-literal]": REGEX,
    "test_the_inside_of_a_route[call-200-another]": INSIDE,
    "test_the_inside_of_a_route[methods-405-DELETE]": INSIDE,
    "test_the_inside_of_a_route[app-200-raw]": INSIDE,
}
