//! The verdicts as a table, for a terminal.

use super::places::Fault;
use super::verdict::{Verdict, Word};

/// A line an endpoint; below those that are not OK, where and what to do; and then the other faults.
pub(crate) fn table(verdicts: &[Verdict], faults: &[Fault], colors: bool) -> String {
    if verdicts.is_empty() && faults.is_empty() {
        return "No request has come in, and nothing has blocked the event loop.".to_owned();
    }
    let rows: Vec<[String; COLUMNS]> = verdicts.iter().map(row).collect();
    let headings = HEADINGS.map(str::to_owned);
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        [&headings].into_iter().chain(&rows).map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    let mut lines = vec![aligned(&headings, &widths, None)];
    for (verdict, row) in verdicts.iter().zip(&rows) {
        lines.push(aligned(row, &widths, colors.then_some(verdict.word)));
        if verdict.word != Word::Ok {
            let line = if verdict.line.is_empty() { "where is not known" } else { &verdict.line };
            lines.push(format!("    {line}"));
            lines.push(format!("    use {}", verdict.remedy));
        }
    }
    for fault in faults {
        lines.push(format!("{} x {}", fault.count, fault.text));
        lines.push(format!("    use {}", fault.remedy));
    }
    lines.join("\n")
}

fn row(verdict: &Verdict) -> [String; COLUMNS] {
    let number = |number: u64| if number == 0 { "-".to_owned() } else { number.to_string() };
    let pattern = if verdict.pattern.is_empty() { "-" } else { &verdict.pattern };
    [
        verdict.endpoint.clone(),
        pattern.to_owned(),
        number(verdict.requests),
        number(verdict.concurrency),
        milliseconds(verdict.longest),
        milliseconds(verdict.total),
        milliseconds(verdict.delay),
        verdict.word.text().to_owned(),
    ]
}

/// A time as people read it; a dash for none.
fn milliseconds(seconds: f64) -> String {
    if seconds > 0.0 { format!("{:.0} ms", seconds * 1e3) } else { "-".to_owned() }
}

fn aligned(row: &[String; COLUMNS], widths: &[usize; COLUMNS], color: Option<Word>) -> String {
    let mut line = format!("{:<width$}", row[0], width = widths[0]);
    for (cell, width) in row[1..COLUMNS - 1].iter().zip(&widths[1..]) {
        line += &format!("  {cell:>width$}");
    }
    let last = &row[COLUMNS - 1];
    match color {
        None => format!("{line}  {last}"),
        Some(word) => format!("{line}  {}{last}\x1b[0m", escape(word)),
    }
}

fn escape(word: Word) -> &'static str {
    match word {
        Word::Ok => "\x1b[32m",
        Word::Better => "\x1b[33m",
        Word::Bad => "\x1b[31m",
    }
}

const COLUMNS: usize = 8;
const HEADINGS: [&str; COLUMNS] =
    ["endpoint", "pattern", "requests", "at once", "blocked longest", "in all", "delay to others", "verdict"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::tally::Tally;
    use crate::watch::verdict;

    #[test]
    fn columns_are_aligned_and_remedies_below() {
        let route = Tally {
            path: "/é".to_owned(),
            requests: 3,
            stalls: 1,
            stalled: 0.25,
            longest_step: 0.25,
            ..Tally::default()
        };
        let fault = Fault { text: "lost".to_owned(), remedy: "a net".to_owned(), count: 2 };
        let text = table(&verdict::verdicts(&[route], &[], 0.1), &[fault], false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "endpoint  pattern  requests  at once  blocked longest  in all  delay to others  verdict");
        assert_eq!(lines[1], "/é              -         3        -           250 ms  250 ms                -  Bad");
        assert_eq!(lines[2], "    where is not known");
        assert_eq!(lines[4..], ["2 x lost", "    use a net"]);
    }
}
