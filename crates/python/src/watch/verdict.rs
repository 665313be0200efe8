//! The verdict on each endpoint: what it does to the event loop, and what is to be done about it.

use std::sync::LazyLock;

use regex_lite::Regex;
use serde::Serialize;

use super::places::Place;
use super::tally::Tally;

/// One endpoint. Times are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) endpoint: String,
    /// "async", "def" or "".
    pub(crate) pattern: String,
    pub(crate) requests: u64,
    /// The most requests in flight at the same time.
    pub(crate) concurrency: u64,
    /// For how long single steps have kept the loop, stalls only.
    pub(crate) longest: f64,
    pub(crate) total: f64,
    /// What that may have added to other requests, at the most.
    pub(crate) delay: f64,
    pub(crate) word: Word,
    /// Where; empty when all is well.
    pub(crate) line: String,
    /// What to do.
    pub(crate) remedy: String,
}

/// In the order of a report: the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Word {
    Bad,
    #[serde(rename = "Could be better")]
    Better,
    #[serde(rename = "OK")]
    Ok,
}

impl Word {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Word::Bad => "Bad",
            Word::Better => "Could be better",
            Word::Ok => "OK",
        }
    }
}

/// What is to be said of each route, the worst first, and of what stalled the loop outside of routes. `threshold`, in seconds:
/// from there on a silence of the loop is a stall, and a wait for a thread a long one.
pub(crate) fn verdicts(routes: &[Tally], places: &[Place], threshold: f64) -> Vec<Verdict> {
    let mut found: Vec<Verdict> = routes.iter().map(|route| of_route(route, places, threshold)).collect();
    // Applications behind different hosts may have the same paths.
    let names: Vec<String> = found.iter().map(|verdict| verdict.endpoint.clone()).collect();
    for (verdict, route) in found.iter_mut().zip(routes) {
        if names.iter().filter(|name| **name == verdict.endpoint).count() > 1 {
            verdict.endpoint = route.full_name();
        }
    }
    let is_routes = |place: &Place| routes.iter().any(|route| is_of(place, route));
    found.extend(places.iter().filter(|place| !is_routes(place)).map(of_place));
    found
        .sort_by(|one, other| (one.word, -one.total).partial_cmp(&(other.word, -other.total)).expect("no time is NaN"));
    found
}

/// The verdict on one route.
pub(crate) fn of_route(route: &Tally, places: &[Place], threshold: f64) -> Verdict {
    let mine = || places.iter().filter(|place| is_of(place, route));
    let (word, line, remedy) = match mine().max_by(|one, other| one.total.total_cmp(&other.total)) {
        Some(worst) => (Word::Bad, worst.line.clone(), worst.remedy.clone()),
        None if route.stalls > 0 => (Word::Bad, place_of(route), OTHERWISE.to_owned()),
        None => match thread_advice(route, threshold) {
            Some(advice) => (Word::Better, place_of(route), advice),
            None => (Word::Ok, String::new(), String::new()),
        },
    };
    let longest_stall = mine().map(|place| place.longest).reduce(f64::max);
    // A stall that is under way is no part of what the route has come to.
    let total = mine().map(|place| place.total).sum::<f64>().max(route.stalled);
    Verdict {
        endpoint: route.name(),
        pattern: route.pattern.clone(),
        requests: route.requests,
        concurrency: route.most_in_flight,
        longest: longest_stall.unwrap_or(if route.stalls > 0 { route.longest_step } else { 0.0 }),
        total,
        delay: route.delayed_others,
        word,
        line,
        remedy,
    }
}

/// What to do about a line that blocks. `clue`: what the line says, and the function that it was in.
pub(super) fn remedy(clue: &str) -> &'static str {
    REMEDIES.iter().find(|(pattern, _)| pattern.is_match(clue)).map_or(OTHERWISE, |(_, advice)| advice)
}

fn is_of(place: &Place, route: &Tally) -> bool {
    place.endpoint == route.endpoint && place.culprit == route.name()
}

fn of_place(place: &Place) -> Verdict {
    Verdict {
        endpoint: place.culprit.clone(),
        pattern: String::new(),
        requests: 0,
        concurrency: 0,
        longest: place.longest,
        total: place.total,
        delay: place.delayed,
        word: Word::Bad,
        line: place.line.clone(),
        remedy: place.remedy.clone(),
    }
}

/// What is to be said of its calls on threads.
fn thread_advice(route: &Tally, threshold: f64) -> Option<String> {
    if route.thread_calls < ENOUGH_CALLS {
        return None;
    }
    let calls = route.thread_calls as f64;
    let (ran, queued) = (route.thread_ran / calls, route.thread_queued / calls);
    if route.longest_thread_queue >= threshold && queued > ran {
        let (queued, ran) = (queued * 1e3, ran * 1e3);
        return Some(format!("more threads: calls waited {queued:.1} ms for one and ran {ran:.1} ms"));
    }
    // One call that takes long would block the loop, however many do not.
    let never_waits = ran < HAND_OVER && route.longest_thread_run < threshold * LONG_CALL;
    (never_waits && route.pattern == "def").then(|| {
        let ran = ran * 1e6;
        format!("`async def`: it never waits, and its {ran:.0} us cost less than the hand-over to a thread")
    })
}

fn place_of(route: &Tally) -> String {
    if route.file.is_empty() { String::new() } else { format!("{}:{}", route.file, route.line) }
}

/// A `def` whose calls are shorter than the hand-over to a thread and back takes (seconds) gains nothing by it.
const HAND_OVER: f64 = 0.0001;
/// As a part of the threshold. A call that waits is longer, and so may be one that a busy machine does not let run.
const LONG_CALL: f64 = 0.25;
/// From so many calls on the average says something.
const ENOUGH_CALLS: u64 = 20;
const OTHERWISE: &str = "`def`, or run_in_executor; a process pool if it computes";

/// What to do instead, by the first pattern that the blocking line or the function it was in matches.
static REMEDIES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let patterns = [
        (r"^the garbage collector$|\bgc\.collect\b", "gc.freeze() after start-up, or a higher gc.set_threshold(...)"),
        (r"\btime\.sleep\b|(^|[^.\w])sleep\(", "await asyncio.sleep(...)"),
        (
            r"\brequests\.|\burllib\b|\burlopen\b|\bhttpx\.(get|post|put|patch|delete|request|stream|Client)\b|http[/\\]client",
            "an async client (httpx.AsyncClient), or `def`",
        ),
        (
            r"psycopg|sqlite3|pymysql|MySQLdb|\bcursor\b|\.execute\(|sqlalchemy|pymongo|\bredis\b",
            "an async driver, or `def`",
        ),
        (
            r"fastapi[/\\](encoders|routing|_compat)|pydantic[/\\]|starlette[/\\]responses",
            "a smaller answer, a page of it; or a Response that a `def` makes",
        ),
        (r"\bsubprocess\b|\bos\.system\b", "asyncio.create_subprocess_exec"),
        (
            r"\bopen\(|\.read(_text|_bytes|lines?)?\(|\.write(_text|_bytes|lines)?\(|\bos\.(listdir|walk|stat)\b|\bshutil\b",
            "`def`, or anyio.open_file",
        ),
        (
            r"\bjson\.|\bpickle\.|\bre\.(match|search|fullmatch|sub|findall|split)\b|[/\\]re[/\\]|[/\\]json[/\\]",
            "run_in_executor with a process pool, or less of it",
        ),
        (
            r"\.acquire\(|\.wait\(|\.join\(|\.result\(|[/\\]threading\.py|queue\.py",
            "asyncio's own locks and queues, or `def`: the loop must not wait for a thread",
        ),
    ];
    patterns.map(|(pattern, advice)| (Regex::new(pattern).expect("it is valid"), advice)).into()
});

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Tally {
        Tally { method: "GET".to_owned(), path: path.to_owned(), pattern: "def".to_owned(), ..Tally::default() }
    }

    #[test]
    fn a_line_has_its_remedy() {
        for (clue, start) in [
            ("time.sleep(3)", "await asyncio.sleep"),
            ("sleep(3)", "await asyncio.sleep"),
            ("await asyncio.sleep(0); gc.collect()", "gc.freeze()"),
            ("await asyncio.sleep(0); work()", "`def`, or run_in_executor"),
            ("requests.get(url)", "an async client"),
            ("return jsonable_encoder( /lib/site/fastapi/encoders.py", "a smaller answer"),
            ("cursor.execute(query)", "an async driver"),
            ("return json.loads(text)", "run_in_executor with a process pool"),
            ("Path(name).read_text()", "`def`, or anyio"),
            ("total += n * n", "`def`, or run_in_executor"),
            ("", "`def`, or run_in_executor"),
        ] {
            assert!(remedy(clue).starts_with(start), "{clue}: {}", remedy(clue));
        }
    }

    #[test]
    fn the_worst_comes_first_and_names_its_line() {
        let place = |culprit: &str, line: &str, total| Place {
            culprit: culprit.to_owned(),
            line: line.to_owned(),
            total,
            ..Place::default()
        };
        let places = [place("GET /b", "b.py:1 x", 1.0), place("GET /b", "b.py:2 y", 2.0), place("the task t", "", 0.5)];
        let found = verdicts(&[route("/a"), Tally { stalled: 3.0, stalls: 2, ..route("/b") }], &places, 0.1);
        let words: Vec<_> = found.iter().map(|v| (v.endpoint.as_str(), v.word, v.line.as_str())).collect();
        assert_eq!(words, [("GET /b", Word::Bad, "b.py:2 y"), ("the task t", Word::Bad, ""), ("GET /a", Word::Ok, "")]);
    }

    #[test]
    fn routes_of_the_same_path_are_told_apart_by_their_endpoints() {
        let route = |endpoint: &str| Tally { endpoint: endpoint.to_owned(), ..route("/x") };
        let place = Place { culprit: "GET /x".to_owned(), endpoint: "a.x".to_owned(), total: 1.0, ..Place::default() };
        let found = verdicts(&[route("a.x"), route("b.x")], &[place], 0.1);
        let words: Vec<_> = found.iter().map(|v| (v.endpoint.as_str(), v.word)).collect();
        assert_eq!(words, [("GET /x (a.x)", Word::Bad), ("GET /x (b.x)", Word::Ok)]);
    }

    #[test]
    fn threads_that_are_too_few_or_for_nothing_are_told() {
        let busy =
            Tally { thread_calls: 20, thread_ran: 0.2, thread_queued: 4.0, longest_thread_queue: 0.3, ..route("/") };
        let found = of_route(&busy, &[], 0.1);
        assert_eq!(found.word, Word::Better);
        assert_eq!(found.remedy, "more threads: calls waited 200.0 ms for one and ran 10.0 ms");
        let short = Tally { thread_calls: 20, thread_ran: 0.0002, ..route("/") };
        assert!(of_route(&short, &[], 0.1).remedy.starts_with("`async def`: it never waits, and its 10 us"));
        let seldom_waits = Tally { longest_thread_run: 0.06, ..short.clone() };
        assert_eq!(of_route(&seldom_waits, &[], 0.1).word, Word::Ok, "it would block the loop now and then");
        assert_eq!(of_route(&Tally { thread_calls: 19, ..short }, &[], 0.1).word, Word::Ok, "too few to tell");
    }
}
