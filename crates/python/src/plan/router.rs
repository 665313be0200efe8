//! Which route a path belongs to: the first that matches, as in FastAPI, found without trying them one by one.
//!
//! Paths made of whole segments, literal or with one parameter, are kept in a tree; each end of the tree knows the places of
//! its routes in FastAPI's order, and the smallest place that matches wins. Paths with parameters elsewhere (`/{a}-{b}`,
//! `/files/{name:path}/content`) are tried one by one, as their regular expressions would be. Whatever else may match (a
//! mount, a host, a convertor of the application's own) stands in a list of its own with its place and the text its paths
//! begin with: if such an entry comes first, FastAPI's own code decides.

use std::collections::HashMap;

/// A piece of a path between two slashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `[^/]+`
    Str,
    /// `[0-9]+`
    Int,
    /// `[0-9]+(\.[0-9]+)?`
    Float,
    /// 8-4-4-4-12 hexadecimal digits, the dashes optional
    Uuid,
    /// `.*`: all that is left
    Path,
}

impl Kind {
    pub(crate) fn parse(name: &str) -> Option<Kind> {
        Some(match name {
            "str" => Kind::Str,
            "int" => Kind::Int,
            "float" => Kind::Float,
            "uuid" => Kind::Uuid,
            "path" => Kind::Path,
            _ => return None,
        })
    }

    fn matches(self, text: &str) -> bool {
        match self {
            Kind::Path => true,
            Kind::Str => !text.is_empty(),
            Kind::Int => is_digits(text),
            Kind::Float => match text.split_once('.') {
                Some((whole, fraction)) => is_digits(whole) && is_digits(fraction),
                None => is_digits(text),
            },
            Kind::Uuid => is_uuid(text.as_bytes()),
        }
    }

    /// Behind how many bytes of the text all that the convertor may match has ended.
    fn reach(self, text: &str) -> usize {
        let end = |is_part: fn(u8) -> bool| text.bytes().position(|byte| !is_part(byte)).unwrap_or(text.len());
        match self {
            Kind::Path => text.len(),
            Kind::Str => end(|byte| byte != b'/'),
            Kind::Int => end(|byte| byte.is_ascii_digit()),
            Kind::Float => end(|byte| byte.is_ascii_digit() || byte == b'.'),
            Kind::Uuid => end(|byte| byte.is_ascii_hexdigit() || byte == b'-').min(36),
        }
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}`
fn is_uuid(mut text: &[u8]) -> bool {
    for (group, digits) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if group > 0
            && let [b'-', rest @ ..] = text
        {
            text = rest;
        }
        let Some((head, rest)) = text.split_at_checked(digits) else { return false };
        if !head.iter().all(u8::is_ascii_hexdigit) {
            return false;
        }
        text = rest;
    }
    text.is_empty()
}

/// One segment of a route's path, or a piece of one that is not made of whole segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    Parameter(Kind),
}

/// A route as the index knows it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The segments behind the first slash; `None` if the path is not made of whole segments.
    pub(crate) segments: Option<Vec<Segment>>,
    /// For an entry without segments: all of the path, slashes included; `None` if it cannot be judged here.
    pub(crate) pieces: Option<Vec<Segment>>,
    /// For an entry without segments: what every path of it begins with.
    pub(crate) prefix: String,
    /// Upper-case methods; empty stands for all.
    pub(crate) methods: Vec<String>,
}

/// What became of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'p> {
    /// The place of the first full match, and its parameters in the order of the path.
    Route(usize, Vec<&'p str>),
    /// Only with other methods; the place of the first.
    Method(usize),
    /// No route at all.
    Nothing,
    /// An entry that only FastAPI's own code can judge comes first.
    Unknown,
}

/// The index.
#[derive(Debug, Default)]
pub(crate) struct Router {
    root: Node,
    entries: Vec<Entry>,
    /// Where the entries stand among all of the application's.
    places: Vec<usize>,
    /// Places of the entries that have pieces, in order.
    pieced: Vec<usize>,
    /// Places of the entries that have neither, in order.
    unknown: Vec<usize>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    parameters: Vec<(Kind, Node)>,
    /// Places of the routes that end here, in order.
    ends: Vec<usize>,
}

impl Router {
    /// `entries`: each with its place among all of the application's.
    pub(crate) fn new(entries: Vec<(usize, Entry)>) -> Router {
        let mut router = Router::default();
        let (places, entries): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        router.places = places;
        for (place, entry) in entries.iter().enumerate() {
            match (&entry.segments, &entry.pieces) {
                (Some(segments), _) => router.root.insert(segments, place),
                (None, Some(_)) => router.pieced.push(place),
                (None, None) => router.unknown.push(place),
            }
        }
        router.entries = entries;
        router
    }

    /// Looks a path up. It must begin with a slash and hold no newline, which regular expressions treat in their own way.
    pub(crate) fn find<'p>(&self, method: &str, path: &'p str) -> Found<'p> {
        let mut search = Search { router: self, method, best: None, partial: None, captured: Vec::new() };
        if let Some(path) = path.strip_prefix('/') {
            search.descend(&self.root, Some(path));
        }
        search.try_pieced(path);
        let (best, partial) = (search.best, search.partial);
        let limit = best.as_ref().map_or(usize::MAX, |(place, _)| *place);
        let first_unknown = self
            .unknown
            .iter()
            .take_while(|place| **place < limit)
            .any(|place| path.starts_with(self.entries[*place].prefix.as_str()));
        match (best, partial) {
            _ if first_unknown => Found::Unknown,
            (Some((place, parameters)), _) => Found::Route(self.places[place], parameters),
            (None, Some(place)) => Found::Method(self.places[place]),
            (None, None) => Found::Nothing,
        }
    }
}

impl Node {
    fn insert(&mut self, segments: &[Segment], place: usize) {
        match segments {
            [] => self.ends.push(place),
            [Segment::Literal(text), rest @ ..] => {
                self.literals.entry(text.clone()).or_default().insert(rest, place);
            }
            [Segment::Parameter(kind), rest @ ..] => {
                let known = self.parameters.iter().position(|(other, _)| other == kind);
                let child = known.unwrap_or_else(|| {
                    self.parameters.push((*kind, Node::default()));
                    self.parameters.len() - 1
                });
                self.parameters[child].1.insert(rest, place);
            }
        }
    }
}

struct Search<'r, 'p> {
    router: &'r Router,
    method: &'r str,
    best: Option<(usize, Vec<&'p str>)>,
    partial: Option<usize>,
    captured: Vec<&'p str>,
}

impl<'r, 'p> Search<'r, 'p> {
    /// `rest` is what follows the slash before this node; `None` behind the last segment.
    fn descend(&mut self, node: &'r Node, rest: Option<&'p str>) {
        let Some(rest) = rest else {
            return self.arrive(node);
        };
        let (segment, behind) = match rest.split_once('/') {
            Some((segment, behind)) => (segment, Some(behind)),
            None => (rest, None),
        };
        if let Some(child) = node.literals.get(segment) {
            self.descend(child, behind);
        }
        for (kind, child) in &node.parameters {
            if *kind == Kind::Path {
                self.captured.push(rest);
                self.arrive(child);
                self.captured.pop();
            } else if kind.matches(segment) {
                self.captured.push(segment);
                self.descend(child, behind);
                self.captured.pop();
            }
        }
    }

    fn arrive(&mut self, node: &Node) {
        for place in &node.ends {
            if self.best.as_ref().is_some_and(|(best, _)| best < place) || self.take(*place) {
                return;
            }
        }
    }

    fn try_pieced(&mut self, path: &'p str) {
        let router = self.router;
        for place in &router.pieced {
            if self.best.as_ref().is_some_and(|(best, _)| best < place) {
                return;
            }
            let entry = &router.entries[*place];
            let Some(pieces) = entry.pieces.as_deref().filter(|_| path.starts_with(entry.prefix.as_str())) else {
                continue;
            };
            self.captured.clear();
            if capture(pieces, path, &mut self.captured) && self.take(*place) {
                return;
            }
        }
    }

    /// The path matches the entry at `place` with what is captured. Whether the method does, too.
    fn take(&mut self, place: usize) -> bool {
        let methods = &self.router.entries[place].methods;
        if methods.is_empty() || methods.iter().any(|method| method == self.method) {
            self.best = Some((place, self.captured.clone()));
            return true;
        }
        if self.partial.is_none_or(|partial| place < partial) {
            self.partial = Some(place);
        }
        false
    }
}

/// Whether the pieces match all of the path, each parameter as much as it can, the first ones first: as the regular
/// expression that Starlette makes of them.
fn capture<'p>(pieces: &[Segment], path: &'p str, captured: &mut Vec<&'p str>) -> bool {
    match pieces {
        [] => path.is_empty(),
        [Segment::Literal(text), rest @ ..] => {
            path.strip_prefix(text.as_str()).is_some_and(|behind| capture(rest, behind, captured))
        }
        [Segment::Parameter(kind), rest @ ..] => {
            for end in (0..=kind.reach(path)).rev() {
                let Some((text, behind)) = path.split_at_checked(end) else { continue };
                if kind.matches(text) {
                    captured.push(text);
                    if capture(rest, behind, captured) {
                        return true;
                    }
                    captured.pop();
                }
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(entries: Vec<Entry>) -> Router {
        Router::new(entries.into_iter().enumerate().collect())
    }

    fn entry(path: &str, methods: &[&str]) -> Entry {
        let segments = path[1..]
            .split('/')
            .map(|segment| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(kind) => Segment::Parameter(Kind::parse(kind).unwrap()),
                None => Segment::Literal(segment.into()),
            })
            .collect();
        Entry {
            segments: Some(segments),
            pieces: None,
            prefix: String::new(),
            methods: methods.iter().map(|m| (*m).into()).collect(),
        }
    }

    fn unknown(prefix: &str) -> Entry {
        Entry { segments: None, pieces: None, prefix: prefix.into(), methods: Vec::new() }
    }

    /// `{kind}` anywhere.
    fn pieced(path: &str, methods: &[&str]) -> Entry {
        let pieces = path
            .split('{')
            .flat_map(|part| match part.split_once('}') {
                Some((kind, text)) => {
                    vec![Segment::Parameter(Kind::parse(kind).unwrap()), Segment::Literal(text.into())]
                }
                None => vec![Segment::Literal(part.into())],
            })
            .collect();
        Entry {
            segments: None,
            pieces: Some(pieces),
            prefix: path.split('{').next().unwrap_or_default().into(),
            methods: methods.iter().map(|m| (*m).into()).collect(),
        }
    }

    #[test]
    fn the_first_match_wins_whether_literal_or_parameter() {
        let router = indexed(vec![entry("/a/{str}", &["GET"]), entry("/a/b", &["GET"]), entry("/{str}/b", &["GET"])]);
        assert_eq!(router.find("GET", "/a/b"), Found::Route(0, vec!["b"]));
        assert_eq!(router.find("GET", "/x/b"), Found::Route(2, vec!["x"]));
        assert_eq!(router.find("GET", "/x/c"), Found::Nothing);
    }

    #[test]
    fn a_full_match_behind_a_partial_one_wins() {
        let router = indexed(vec![entry("/a", &["POST"]), entry("/{str}", &["GET"])]);
        assert_eq!(router.find("GET", "/a"), Found::Route(1, vec!["a"]));
        assert_eq!(router.find("PUT", "/a"), Found::Method(0));
    }

    #[test]
    fn segments_are_whole_and_never_empty_parameters() {
        let router = indexed(vec![entry("/a/{str}", &[]), entry("/", &[]), entry("/t/", &[])]);
        assert_eq!(router.find("GET", "/a/"), Found::Nothing);
        assert_eq!(router.find("GET", "/a/b/"), Found::Nothing);
        assert_eq!(router.find("GET", "/"), Found::Route(1, vec![]));
        assert_eq!(router.find("GET", "/t"), Found::Nothing);
        assert_eq!(router.find("GET", "/t/"), Found::Route(2, vec![]));
    }

    #[test]
    fn convertors_judge_their_segment() {
        let router = indexed(vec![
            entry("/i/{int}", &[]),
            entry("/f/{float}", &[]),
            entry("/u/{uuid}", &[]),
            entry("/p/{path}", &[]),
        ]);
        assert_eq!(router.find("GET", "/i/07"), Found::Route(0, vec!["07"]));
        assert_eq!(router.find("GET", "/i/-7"), Found::Nothing);
        assert_eq!(router.find("GET", "/f/1.5"), Found::Route(1, vec!["1.5"]));
        assert_eq!(router.find("GET", "/f/1."), Found::Nothing);
        let uuid = "123e4567-e89b12d3-a456-426614174000";
        assert_eq!(router.find("GET", &format!("/u/{uuid}")), Found::Route(2, vec![uuid]));
        assert_eq!(router.find("GET", "/p/a/b/"), Found::Route(3, vec!["a/b/"]));
        assert_eq!(router.find("GET", "/p/"), Found::Route(3, vec![""]));
        assert_eq!(router.find("GET", "/p"), Found::Nothing);
    }

    #[test]
    fn parameters_within_segments_take_what_they_can_from_the_left() {
        let router = indexed(vec![
            pieced("/n/{str}-{str}", &[]),
            pieced("/f/{path}/content", &[]),
            pieced("/v/{int}.{str}", &[]),
            pieced("/x/{float}{str}", &[]),
            pieced("/p={path}", &[]),
            pieced("/two/{path}/and/{path}", &[]),
        ]);
        assert_eq!(router.find("GET", "/n/a-b-c"), Found::Route(0, vec!["a-b", "c"]));
        assert_eq!(router.find("GET", "/n/a-"), Found::Nothing);
        assert_eq!(router.find("GET", "/n/a/b-c"), Found::Nothing);
        assert_eq!(router.find("GET", "/n/ä-ö"), Found::Route(0, vec!["ä", "ö"]));
        assert_eq!(router.find("GET", "/f/a/content/content"), Found::Route(1, vec!["a/content"]));
        assert_eq!(router.find("GET", "/f//content"), Found::Route(1, vec![""]));
        assert_eq!(router.find("GET", "/f/content"), Found::Nothing);
        assert_eq!(router.find("GET", "/v/12.3.4"), Found::Route(2, vec!["12", "3.4"]));
        assert_eq!(router.find("GET", "/x/1.25"), Found::Route(3, vec!["1.2", "5"]));
        assert_eq!(router.find("GET", "/x/1.x"), Found::Route(3, vec!["1", ".x"]));
        assert_eq!(router.find("GET", "/p="), Found::Route(4, vec![""]));
        assert_eq!(router.find("GET", "/two/a/and/b/and/c"), Found::Route(5, vec!["a/and/b", "c"]));
    }

    #[test]
    fn paths_of_pieces_have_their_place_among_the_others() {
        let router = indexed(vec![
            pieced("/{str}-{str}", &["GET"]),
            entry("/a-b", &["GET", "POST"]),
            unknown("/s"),
            pieced("/s-{int}", &["GET"]),
            pieced("/{str}.{str}", &["PUT"]),
        ]);
        assert_eq!(router.find("GET", "/a-b"), Found::Route(0, vec!["a", "b"]));
        assert_eq!(router.find("POST", "/a-b"), Found::Route(1, vec![]));
        assert_eq!(router.find("PUT", "/a-b"), Found::Method(0));
        assert_eq!(router.find("GET", "/s-1"), Found::Route(0, vec!["s", "1"]));
        assert_eq!(router.find("PUT", "/s-1.2"), Found::Unknown);
        assert_eq!(router.find("PUT", "/a-1.2"), Found::Route(4, vec!["a-1", "2"]));
    }

    #[test]
    fn what_cannot_be_judged_counts_by_its_place_and_prefix() {
        let router =
            indexed(vec![entry("/a", &["GET"]), unknown("/s"), entry("/s/x", &["GET"]), entry("/b", &["GET"])]);
        assert_eq!(router.find("GET", "/a"), Found::Route(0, vec![]));
        assert_eq!(router.find("GET", "/s/x"), Found::Unknown);
        assert_eq!(router.find("GET", "/b"), Found::Route(3, vec![]));
        assert_eq!(router.find("POST", "/s/x"), Found::Unknown);
        assert_eq!(router.find("GET", "/nowhere"), Found::Nothing);
    }
}
