//! Multipart bodies (RFC 7578), as far as they are written the way that all clients write them.
//!
//! A body is looked at as it arrives, each byte once, and stays where it is: what is found are ranges of it. Whatever is
//! unusual is [`Odd`], at the first byte that shows it: an error, more than the limits allow, or one of the many things that
//! python-multipart takes in its own way (a preamble, spaces after a boundary, parts without an end). It then reads the same
//! bytes itself, and says what is wrong with them.

use std::ops::Range;

use memchr::memmem::Finder;

use super::options::{Options, Unclear};

/// A body that Starlette's parser has to look at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Odd;

impl From<Unclear> for Odd {
    fn from(_: Unclear) -> Odd {
        Odd
    }
}

/// What a form may have at the most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) files: u64,
    pub(crate) fields: u64,
    /// Bytes of a field that is no file.
    pub(crate) part_size: u64,
}

/// One part; the ranges are those of the body.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: Range<usize>,
    /// Of a file.
    pub(super) filename: Option<Range<usize>>,
    /// Names and values, in their order.
    pub(super) headers: Vec<(Range<usize>, Range<usize>)>,
    pub(super) data: Range<usize>,
}

/// See the [module](self).
pub(in crate::plan) struct Multipart {
    /// `\r\n--boundary`
    delimiter: Finder<'static>,
    limits: Limits,
    parts: Vec<Part>,
    files: u64,
    state: State,
}

enum State {
    /// Before the first boundary.
    Start,
    /// At the beginning of a line of this part's headers.
    Headers { at: usize, headers: Vec<(Range<usize>, Range<usize>)> },
    /// In this part's data; there is no delimiter before `searched`.
    Data { part: Part, searched: usize },
    /// Behind the last boundary, where nothing counts.
    End,
}

impl Multipart {
    pub(super) fn new(boundary: &[u8], limits: Limits) -> Result<Multipart, Odd> {
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY {
            return Err(Odd);
        }
        let delimiter = Finder::new(&[b"\r\n--", boundary].concat()).into_owned();
        Ok(Multipart { delimiter, limits, parts: Vec::new(), files: 0, state: State::Start })
    }

    /// Looks at what has arrived since the last call; `body` is all there is of it.
    pub(super) fn advance(&mut self, body: &[u8]) -> Result<(), Odd> {
        loop {
            let state = match std::mem::replace(&mut self.state, State::End) {
                State::Start => self.start(body)?,
                State::Headers { at, headers } => self.header(body, at, headers)?,
                State::Data { part, searched } => self.data(body, part, searched)?,
                State::End => return Ok(()),
            };
            match state {
                Step::Onward(state) => self.state = state,
                Step::Wait(state) => {
                    self.state = state;
                    return Ok(());
                }
            }
        }
    }

    /// The parts of a body that is complete.
    pub(super) fn finish(self) -> Result<Vec<Part>, Odd> {
        match self.state {
            State::End => Ok(self.parts),
            _ => Err(Odd),
        }
    }

    fn start(&self, body: &[u8]) -> Result<Step, Odd> {
        let (dashes, line_end) = (&self.delimiter.needle()[2..], b"\r\n");
        let expected = dashes.iter().chain(line_end);
        if body.iter().zip(expected).any(|(byte, expected)| byte != expected) {
            return Err(Odd);
        }
        let length = dashes.len() + line_end.len();
        Ok(if body.len() < length {
            Step::Wait(State::Start)
        } else {
            Step::Onward(State::Headers { at: length, headers: Vec::new() })
        })
    }

    fn header(&mut self, body: &[u8], at: usize, mut headers: Vec<(Range<usize>, Range<usize>)>) -> Result<Step, Odd> {
        let line = &body[at..];
        let line = &line[..line.len().min(MAX_HEADER_LINE)];
        let end = memchr::memchr(b'\r', line);
        if end == Some(0) {
            return match line.get(1) {
                None => Ok(Step::Wait(State::Headers { at, headers })),
                Some(b'\n') => self.part(body, at + 2, headers),
                Some(_) => Err(Odd),
            };
        }
        let content = &line[..end.unwrap_or(line.len())];
        let colon = memchr::memchr(b':', content);
        let name = &content[..colon.unwrap_or(content.len())];
        if !name.iter().all(|byte| is_token(*byte)) || colon == Some(0) {
            return Err(Odd);
        }
        match (colon, end.and_then(|end| Some((end, line.get(end + 1)?)))) {
            (Some(colon), Some((end, b'\n'))) if headers.len() < MAX_HEADERS => {
                let spaces = content[colon + 1..].iter().take_while(|byte| **byte == b' ').count();
                headers.push((at..at + colon, at + colon + 1 + spaces..at + end));
                Ok(Step::Onward(State::Headers { at: at + end + 2, headers }))
            }
            (_, Some(_)) => Err(Odd),
            (_, None) if line.len() == MAX_HEADER_LINE || headers.len() == MAX_HEADERS => Err(Odd),
            (None, None) if end.is_some() => Err(Odd),
            (_, None) => Ok(Step::Wait(State::Headers { at, headers })),
        }
    }

    /// A part whose headers are complete; its data begin at `start`.
    fn part(&mut self, body: &[u8], start: usize, headers: Vec<(Range<usize>, Range<usize>)>) -> Result<Step, Odd> {
        let disposition = headers
            .iter()
            .rev()
            .find(|(name, _)| body[name.clone()].eq_ignore_ascii_case(b"content-disposition"))
            .map(|(_, value)| value.clone())
            .ok_or(Odd)?;
        let options = Options::parse(&body[disposition])?;
        let place = |text: &[u8]| {
            // It is a slice of the body.
            let start = text.as_ptr() as usize - body.as_ptr() as usize;
            start..start + text.len()
        };
        let name = place(options.get(b"name").ok_or(Odd)?);
        let filename = options.get(b"filename").map(place);
        let files = self.files + u64::from(filename.is_some());
        let fields = self.parts.len() as u64 + 1 - files;
        if files > self.limits.files || fields > self.limits.fields {
            return Err(Odd);
        }
        self.files = files;
        Ok(Step::Onward(State::Data { part: Part { name, filename, headers, data: start..start }, searched: start }))
    }

    fn data(&mut self, body: &[u8], mut part: Part, searched: usize) -> Result<Step, Odd> {
        let length = self.delimiter.needle().len();
        let found = self.delimiter.find(&body[searched..]).map(|place| searched + place);
        // Its end may be the beginning of a delimiter.
        let end = found.unwrap_or_else(|| searched.max((body.len() + 1).saturating_sub(length)));
        if part.filename.is_none() && (end - part.data.start) as u64 > self.limits.part_size {
            return Err(Odd);
        }
        let Some(found) = found else { return Ok(Step::Wait(State::Data { part, searched: end })) };
        match &body[found + length..] {
            [] | [b'\r'] | [b'-'] => Ok(Step::Wait(State::Data { part, searched: found })),
            [b'\r', b'\n', ..] => {
                part.data.end = found;
                self.parts.push(part);
                Ok(Step::Onward(State::Headers { at: found + length + 2, headers: Vec::new() }))
            }
            [b'-', b'-', ..] => {
                part.data.end = found;
                self.parts.push(part);
                Ok(Step::Onward(State::End))
            }
            _ => Err(Odd),
        }
    }
}

enum Step {
    Onward(State),
    /// For more of the body.
    Wait(State),
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// python-multipart's own limits: of a boundary, of the headers of a part, and (a little below its own) of a header's line.
const MAX_BOUNDARY: usize = 256;
const MAX_HEADERS: usize = 8;
const MAX_HEADER_LINE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { files: 2, fields: 2, part_size: 8 };

    fn text(body: &[u8], range: &Range<usize>) -> String {
        String::from_utf8(body[range.clone()].to_vec()).unwrap()
    }

    /// Name, file name and data of each part.
    fn parts(body: &[u8], pieces: usize) -> Result<Vec<(String, Option<String>, String)>, Odd> {
        let mut parser = Multipart::new(b"xyz", LIMITS)?;
        for end in (0..body.len()).step_by(pieces) {
            parser.advance(&body[..end])?;
        }
        parser.advance(body)?;
        let read = |part: Part| {
            let filename = part.filename.map(|range| text(body, &range));
            (text(body, &part.name), filename, text(body, &part.data))
        };
        Ok(parser.finish()?.into_iter().map(read).collect())
    }

    fn all_ways(body: &str) -> Result<Vec<(String, Option<String>, String)>, Odd> {
        let whole = parts(body.as_bytes(), usize::MAX);
        for pieces in 1..9 {
            assert_eq!(parts(body.as_bytes(), pieces), whole, "in pieces of {pieces}");
        }
        whole
    }

    fn field(name: &str, data: &str) -> String {
        format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{data}\r\n")
    }

    #[test]
    fn fields_and_files_are_found_however_the_body_arrives() {
        let file = "--xyz\r\ncontent-DISPOSITION:form-data; filename=\"a.txt\"; name=b\r\nX-Y:\r\n\r\n\r\n--xy-\r\n";
        let body = format!("{}{file}{}--xyz--\r\nepilogue", field("a", "1\r\n"), field("", ""));
        let expected = [("a", None, "1\r\n"), ("b", Some("a.txt"), "\r\n--xy-"), ("", None, "")];
        let expected = expected.map(|(name, file, data)| (name.into(), file.map(String::from), data.into()));
        assert_eq!(all_ways(&body), Ok(expected.into()));
    }

    #[test]
    fn headers_are_kept_as_they_stand() {
        let body = b"--xyz\r\nA:  b \r\nContent-Disposition: x; name=n\r\n\r\n\r\n--xyz--";
        let mut parser = Multipart::new(b"xyz", LIMITS).unwrap();
        parser.advance(body).unwrap();
        let headers = &parser.finish().unwrap()[0].headers;
        assert_eq!((text(body, &headers[0].0), text(body, &headers[0].1)), ("A".into(), "b ".into()));
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn what_is_unusual_is_odd() {
        for body in [
            "\r\n--xyz\r\n",
            "--xyz--",
            "--xyz \r\n",
            "--xyz\n",
            &field("a", "1"),
            &format!("{}--xyz", field("a", "1")),
            &format!("{}--xyz-", field("a", "1")),
            &format!("{}--xyz \r\n", field("a", "1")),
            &format!("{}--xyz\n", field("a", "1")),
            "--xyz\r\nContent-Disposition: form-data\r\n\r\n\r\n--xyz--",
            "--xyz\r\nContent-Type: text/plain\r\n\r\n\r\n--xyz--",
            "--xyz\r\nContent-Disposition: form-data; name=\"a;b\"\r\n\r\n\r\n--xyz--",
            "--xyz\r\nContent Disposition: form-data; name=a\r\n\r\n\r\n--xyz--",
            "--xyz\r\nContent-Disposition\r\n\r\n\r\n--xyz--",
            "--xyz\r\n: x\r\n\r\n\r\n--xyz--",
            "--xyz\r\nContent-Disposition: form-data; name=a\rb\r\n\r\n\r\n--xyz--",
            "--xyz\r\nContent-Disposition: form-data; name=a\r\n b\r\n\r\n\r\n--xyz--",
            "--xyz\r\nContent-Disposition: form-data; name=a\r\n\r",
            "--xyz\r\nContent-Disposition: form-data; name=a\r\n\rx",
        ] {
            assert_eq!(all_ways(body), Err(Odd), "{body:?}");
        }
    }

    #[test]
    fn errors_show_before_the_body_is_complete() {
        for body in ["-x", "--xyz\r\na b", "--xyz\r\nContent-Disposition: form-data\r\n\r\n"] {
            assert_eq!(Multipart::new(b"xyz", LIMITS).unwrap().advance(body.as_bytes()), Err(Odd), "{body:?}");
        }
        let long = field("a", &"1".repeat(40));
        assert_eq!(Multipart::new(b"xyz", LIMITS).unwrap().advance(&long.as_bytes()[..long.len() - 10]), Err(Odd));
    }

    #[test]
    fn limits_are_kept() {
        let end = "--xyz--";
        let fits = field("a", "12345678");
        assert!(all_ways(&format!("{fits}{fits}{end}")).is_ok());
        assert_eq!(all_ways(&format!("{fits}{fits}{fits}{end}")), Err(Odd));
        assert_eq!(all_ways(&format!("{}{end}", field("a", "123456789"))), Err(Odd));
        let file = "--xyz\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n123456789\r\n";
        assert!(all_ways(&format!("{file}{file}{fits}{end}")).is_ok());
        assert_eq!(all_ways(&format!("{file}{file}{file}{end}")), Err(Odd));
        let header = format!("X: {}\r\n", "y".repeat(5000));
        assert_eq!(all_ways(&format!("--xyz\r\n{header}{}", &fits[7..])), Err(Odd));
        let many = "X: y\r\n".repeat(8);
        assert_eq!(all_ways(&format!("--xyz\r\n{many}{}{end}", &fits[7..])), Err(Odd));
    }

    #[test]
    fn boundaries_have_a_length() {
        assert!(Multipart::new(b"", LIMITS).is_err());
        assert!(Multipart::new(&[b'x'; 257], LIMITS).is_err());
    }
}
