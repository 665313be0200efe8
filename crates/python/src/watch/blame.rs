//! Which line of a stack is to blame: the innermost of the user's code.

use super::stack::Frame;

/// Where Python's library and the installed packages are. Whatever is elsewhere is the user's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Libraries {
    /// overdrive itself.
    pub(crate) own: Vec<String>,
    pub(crate) python: Vec<String>,
    pub(crate) packages: Vec<String>,
}

impl Libraries {
    /// The place in a stack (innermost first) of the line that is to blame. `None`: nothing of it is Python.
    ///
    /// Where all of it is a library's, as with an application that was installed, the innermost line of one that is no
    /// framework counts; then that of a framework, as where it makes a response of what an endpoint gave; and then the
    /// outermost line.
    pub(crate) fn blame(&self, stack: &[Frame]) -> Option<usize> {
        stack
            .iter()
            .position(|frame| self.is_users(&frame.file))
            .or_else(|| stack.iter().position(|frame| self.is_no_frameworks(&frame.file)))
            .or_else(|| stack.iter().position(|frame| self.is_packages(&frame.file)))
            .or(stack.len().checked_sub(1))
    }

    /// The stack that was seen most often, as far as the line to blame goes.
    pub(crate) fn usual<'a>(&self, stacks: impl Iterator<Item = &'a [Frame]>) -> &'a [Frame] {
        let mut seen: Vec<Seen<'a>> = Vec::new();
        for stack in stacks {
            let line = self.blame(stack).map(|place| (stack[place].file.as_str(), stack[place].line));
            match seen.iter_mut().find(|known| known.line == line) {
                Some(known) => known.count += 1,
                None => seen.push(Seen { stack, line, count: 1 }),
            }
        }
        // The first of those that were seen as often: `max_by_key` gives the last.
        seen.iter().rev().max_by_key(|known| known.count).map_or(&[], |known| known.stack)
    }

    /// Whether a file is of a framework or of Python's library.
    pub(crate) fn is_frameworks(&self, file: &str) -> bool {
        !self.is_users(file) && !self.is_no_frameworks(file)
    }

    /// Whether a file is of an installed package, but not of overdrive.
    fn is_packages(&self, file: &str) -> bool {
        let inside = |folders: &[String]| folders.iter().any(|folder| within(file, folder).is_some());
        inside(&self.packages) && !inside(&self.own)
    }

    /// Whether a file is neither of Python's library nor of an installed package.
    pub(super) fn is_users(&self, file: &str) -> bool {
        let libraries = self.own.iter().chain(&self.python).chain(&self.packages);
        !file.starts_with('<') && !libraries.into_iter().any(|folder| within(file, folder).is_some())
    }

    /// Whether a file is of a package that is no framework, nor of Python's library.
    fn is_no_frameworks(&self, file: &str) -> bool {
        let package = self.packages.iter().find_map(|folder| within(file, folder)).map(|inside| {
            let first = inside.split('/').next().unwrap_or(inside);
            first.strip_suffix(".py").unwrap_or(first)
        });
        match package {
            Some(package) => !FRAMEWORKS.contains(&package),
            None => self.is_users(file),
        }
    }
}

/// The first stack with a line that is to blame, and how often that was seen.
struct Seen<'a> {
    stack: &'a [Frame],
    line: Option<(&'a str, u32)>,
    count: usize,
}

/// The rest of the path of a file within a folder.
fn within<'a>(file: &'a str, folder: &str) -> Option<&'a str> {
    file.strip_prefix(folder)?.strip_prefix('/')
}

/// Packages that call the user's code, or serve it: never the place where a remedy is due.
const FRAMEWORKS: [&str; 7] = ["overdrive", "fastapi", "starlette", "anyio", "uvloop", "pydantic", "asyncio"];

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(file: &str, line: u32) -> Frame {
        Frame { file: file.to_owned(), line, function: "f".to_owned() }
    }

    fn libraries() -> Libraries {
        Libraries {
            own: vec!["/lib/py/site/overdrive".to_owned()],
            python: vec!["/lib/py".to_owned()],
            packages: vec!["/lib/py/site".to_owned()],
        }
    }

    #[test]
    fn the_innermost_line_of_the_users_is_to_blame() {
        let stack = [frame("/lib/py/json.py", 1), frame("/app/work.py", 2), frame("/app/main.py", 3)];
        assert_eq!(libraries().blame(&stack), Some(1));
    }

    #[test]
    fn without_one_it_is_a_packages() {
        let stack =
            [frame("/lib/py/json.py", 1), frame("/lib/py/site/mlflow/a.py", 2), frame("/lib/py/site/fastapi/b.py", 3)];
        assert_eq!(libraries().blame(&stack), Some(1));
        assert_eq!(libraries().blame(&stack[..1]), Some(0));
        let stack = [stack[0].clone(), stack[2].clone(), frame("/lib/py/site/overdrive/c.py", 4)];
        assert_eq!(libraries().blame(&stack), Some(1), "what the framework does with what it was given");
        assert_eq!(libraries().blame(&[stack[0].clone(), stack[2].clone()]), Some(1));
        assert_eq!(libraries().blame(&[]), None);
    }

    #[test]
    fn what_was_seen_most_often_is_the_usual() {
        let (rare, often) = ([frame("/app/main.py", 1)], [frame("/app/main.py", 2)]);
        assert_eq!(libraries().usual([&rare[..], &often, &often].into_iter()), often);
        assert_eq!(libraries().usual([&rare[..], &often].into_iter()), rare);
    }
}
