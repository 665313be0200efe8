//! Lines of source files, without Python.

use std::collections::HashMap;
use std::path::PathBuf;

/// Files that were read, as they were then: what runs is as old.
pub(crate) struct Sources {
    files: HashMap<String, Vec<String>>,
    here: PathBuf,
}

impl Sources {
    pub(crate) fn new() -> Sources {
        Sources { files: HashMap::new(), here: std::env::current_dir().unwrap_or_default() }
    }

    /// A line without its indentation; empty if it is not to be had. The first one is 1.
    pub(crate) fn line(&mut self, file: &str, number: u32) -> String {
        self.around(file, number, 0).pop().map(|(_, text)| text.trim().to_owned()).unwrap_or_default()
    }

    /// A line and those around it, with their numbers.
    pub(crate) fn around(&mut self, file: &str, number: u32, margin: u32) -> Vec<(u32, String)> {
        if number == 0 {
            return Vec::new();
        }
        let lines = self.lines(file);
        let first = number.saturating_sub(margin).max(1);
        let numbered = (1..).zip(lines.iter());
        numbered
            .skip(first as usize - 1)
            .take((number + margin - first) as usize + 1)
            .map(|(n, l)| (n, l.clone()))
            .collect()
    }

    /// A file's name as people know it: relative to the current folder if it is inside.
    pub(crate) fn short(&self, file: &str) -> String {
        std::path::Path::new(file)
            .strip_prefix(&self.here)
            .map_or_else(|_| file.to_owned(), |inside| inside.to_string_lossy().into_owned())
    }

    fn lines(&mut self, file: &str) -> &[String] {
        if !self.files.contains_key(file) {
            if self.files.len() >= MOST_FILES {
                self.files.clear();
            }
            self.files.insert(file.to_owned(), read(file));
        }
        &self.files[file]
    }
}

fn read(file: &str) -> Vec<String> {
    // Names like "<string>" are no files.
    let size = std::fs::metadata(file).map_or(u64::MAX, |found| if found.is_file() { found.len() } else { u64::MAX });
    if size > MOST_BYTES {
        return Vec::new();
    }
    let text = std::fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().map(|line| line.trim_end().chars().take(LONGEST_LINE).collect()).collect()
}

const MOST_FILES: usize = 200;
const MOST_BYTES: u64 = 4 << 20;
const LONGEST_LINE: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_with_their_neighbours() {
        let file = std::env::temp_dir().join(format!("overdrive-source-{}.py", std::process::id()));
        std::fs::write(&file, "one\n  two\nthree\nfour\n").expect("the folder is there");
        let name = file.to_str().expect("it is ASCII");
        let mut sources = Sources::new();
        assert_eq!(sources.line(name, 2), "two");
        assert_eq!(sources.line(name, 9), "");
        let around = sources.around(name, 1, 1);
        assert_eq!(around, [(1, "one".to_owned()), (2, "  two".to_owned())]);
        assert_eq!(sources.around(name, 4, 1).len(), 2);
        assert_eq!(sources.line("<string>", 1), "");
        std::fs::remove_file(&file).expect("it is there");
    }
}
