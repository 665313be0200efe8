//! How long the machine has kept a thread from running that wanted to: other work, not the loop, was slow then.

use super::account::{Doing, Reading};
use super::moment::Moment;

/// What is known of the machine by a thread, most often the loop's.
#[derive(Debug)]
pub(crate) struct Machine {
    schedule: Schedule,
    pressure: Pressure,
}

impl Machine {
    /// About the calling thread.
    pub(crate) fn for_this_thread() -> Machine {
        Machine { schedule: Schedule::of_this_thread(), pressure: Pressure::of_the_machine() }
    }

    pub(super) fn reading(&self, at: Moment) -> Reading {
        let (ran, delayed, slices) = self.schedule.times();
        Reading { at, ran, delayed, slices, pressed: self.pressure.waited(), ..Reading::default() }
    }

    /// Adds to a reading what costs a little more. To be called on the watcher's thread, which does not count.
    pub(super) fn look_closer(&self, reading: &mut Reading) {
        let others = self.schedule.others();
        reading.others = others.map(|others| others.delayed);
        let call = self.schedule.call();
        reading.in_lock = call == Some(Call::Lock);
        reading.doing = match call {
            Some(Call::Other) => Doing::Blocked,
            Some(Call::None) => Doing::Unsettled,
            _ if others.is_some_and(|others| others.is_one_ready) => Doing::Unsettled,
            _ => Doing::Settled,
        };
    }
}

/// What a thread is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// It runs, or is ready to.
    None,
    Lock,
    /// Another system call, in which it sleeps.
    Other,
}

/// The other threads of the process.
#[derive(Clone, Copy, Debug, Default)]
struct Others {
    delayed: u64,
    is_one_ready: bool,
}

/// What the kernel says of one thread of this process, and of the others.
#[derive(Debug, Default)]
struct Schedule {
    #[cfg(target_os = "linux")]
    statistics: Option<std::fs::File>,
    #[cfg(target_os = "linux")]
    system_call: Option<std::fs::File>,
    #[cfg(target_os = "linux")]
    thread: Option<std::ffi::OsString>,
}

#[cfg(target_os = "linux")]
impl Schedule {
    /// Of the calling thread. Where the kernel keeps no such statistics, nothing was ever delayed.
    fn of_this_thread() -> Schedule {
        let open = |name: &str| std::fs::File::open(format!("/proc/thread-self/{name}")).ok();
        Schedule { statistics: open("schedstat"), system_call: open("syscall"), thread: this_thread() }
    }

    /// Nanoseconds for which the thread has run, and for which it was ready to and no processor free; and how often it ran.
    fn times(&self) -> (u64, u64, u64) {
        self.statistics.as_ref().and_then(|file| times(&start_of(file)?)).unwrap_or_default()
    }

    /// All threads but this one and the calling one.
    fn others(&self) -> Option<Others> {
        let (own, caller) = (self.thread.as_ref()?, this_thread()?);
        let mut others = Others::default();
        for thread in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
            if thread.file_name() != *own && thread.file_name() != caller {
                // One that has ended meanwhile has no more to say.
                let read = |name| std::fs::read_to_string(thread.path().join(name)).unwrap_or_default();
                others.delayed += times(&read("schedstat")).unwrap_or_default().1;
                others.is_one_ready |= call(&read("syscall")) == Some(Call::None);
            }
        }
        Some(others)
    }

    fn call(&self) -> Option<Call> {
        call(&start_of(self.system_call.as_ref()?)?)
    }
}

/// "running", or the number of the call and its arguments; -1 where a thread sleeps outside of one.
#[cfg(target_os = "linux")]
fn call(text: &str) -> Option<Call> {
    let first = text.split_ascii_whitespace().next()?;
    if first == "running" {
        return Some(Call::None);
    }
    let number: libc::c_long = first.parse().ok()?;
    Some(if number == libc::SYS_futex || number < 0 { Call::Lock } else { Call::Other })
}

#[cfg(target_os = "linux")]
fn this_thread() -> Option<std::ffi::OsString> {
    // "<process>/task/<thread>"
    std::fs::read_link("/proc/thread-self").ok()?.file_name().map(std::ffi::OsStr::to_owned)
}

#[cfg(target_os = "linux")]
fn start_of(file: &std::fs::File) -> Option<String> {
    use std::os::unix::fs::FileExt;

    let mut text = [0; 192];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok().map(str::to_owned)
}

/// "time on the processor, time waiting for it, number of slices"
#[cfg(target_os = "linux")]
fn times(text: &str) -> Option<(u64, u64, u64)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(not(target_os = "linux"))]
impl Schedule {
    fn of_this_thread() -> Schedule {
        Schedule::default()
    }

    fn times(&self) -> (u64, u64, u64) {
        (0, 0, 0)
    }

    fn others(&self) -> Option<Others> {
        None
    }

    fn call(&self) -> Option<Call> {
        None
    }
}

/// How long anything on the machine has waited for a processor (the kernel's "pressure stall information").
#[derive(Debug, Default)]
struct Pressure {
    file: Option<std::fs::File>,
}

#[cfg(target_os = "linux")]
impl Pressure {
    /// Where the kernel keeps no such statistics, nothing has ever waited.
    fn of_the_machine() -> Pressure {
        Pressure { file: std::fs::File::open("/proc/pressure/cpu").ok() }
    }

    /// Nanoseconds since the machine was started.
    fn waited(&self) -> u64 {
        self.file.as_ref().and_then(|file| total(&start_of(file)?)).unwrap_or(0)
    }
}

#[cfg(not(target_os = "linux"))]
impl Pressure {
    fn of_the_machine() -> Pressure {
        Pressure::default()
    }

    fn waited(&self) -> u64 {
        0
    }
}

/// "some avg10=0.00 avg60=0.00 avg300=0.00 total=microseconds", and another line for "full".
#[cfg(target_os = "linux")]
fn total(text: &str) -> Option<u64> {
    let total = text.lines().next()?.split_ascii_whitespace().find_map(|part| part.strip_prefix("total="))?;
    total.parse::<u64>().ok()?.checked_mul(1000)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_sleeps_is_neither_delayed_nor_running() {
        let schedule = Schedule::of_this_thread();
        let before = schedule.times();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let after = schedule.times();
        assert!(after.0 - before.0 < 20_000_000 && after.1 - before.1 < 20_000_000);
    }

    #[test]
    fn one_that_sleeps_is_blocked_and_one_that_waits_for_a_lock_is_not() {
        let (give, take) = std::sync::mpsc::channel();
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let sleeper = std::thread::spawn(move || {
            give.send(Schedule::of_this_thread()).expect("it is waited for");
            let _ = wait.recv();
            std::thread::sleep(std::time::Duration::from_millis(500));
        });
        let schedule = take.recv().expect("it is sent");
        if schedule.system_call.is_some() {
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert_ne!(schedule.call(), Some(Call::Other), "for a lock");
            drop(stop);
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while schedule.call() != Some(Call::Other) && std::time::Instant::now() < deadline {
                assert!(!sleeper.is_finished(), "it has slept, and nobody has seen it");
            }
        }
        sleeper.join().expect("it does not panic");
    }

    #[test]
    fn one_that_runs_is_not_blocked() {
        let (give, take) = std::sync::mpsc::channel();
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let runner = std::thread::spawn(move || {
            give.send(Schedule::of_this_thread()).expect("it is waited for");
            while wait.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {}
        });
        let schedule = take.recv().expect("it is sent");
        // From another thread: to look at itself is a system call.
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_ne!(schedule.call(), Some(Call::Other));
        drop(stop);
        runner.join().expect("it does not panic");
    }

    #[test]
    fn of_the_other_threads_the_delays_are_known() {
        let schedule = Schedule::of_this_thread();
        assert_eq!(schedule.others().is_some(), schedule.thread.is_some());
        assert_eq!(call("running\n"), Some(Call::None));
        assert_eq!(call("35 0x7f 0x0\n"), Some(Call::Other));
        assert_eq!(call(&format!("{} 0x7f\n", libc::SYS_futex)), Some(Call::Lock));
        assert_eq!(times("12 34 5\n"), Some((12, 34, 5)));
        assert_eq!(times("12 34"), None);
    }

    #[test]
    fn the_pressure_is_what_some_had_to_wait() {
        let text = "some avg10=99.11 avg60=97.89 avg300=84.87 total=10751763\nfull avg10=0.00 total=7\n";
        assert_eq!(total(text), Some(10_751_763_000));
        assert_eq!(total("nonsense"), None);
    }
}
