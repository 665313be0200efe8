//! How long the machine has kept a thread from running that wanted to: other work, not the loop, was slow then.

/// What the kernel says of one thread of this process.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    #[cfg(target_os = "linux")]
    file: Option<std::fs::File>,
}

#[cfg(target_os = "linux")]
impl Schedule {
    /// Of the calling thread. Where the kernel keeps no such statistics, nothing was ever delayed.
    pub(crate) fn of_this_thread() -> Schedule {
        Schedule { file: std::fs::File::open("/proc/thread-self/schedstat").ok() }
    }

    /// Nanoseconds for which the thread was ready to run and no processor free, since it began.
    pub(crate) fn delayed(&self) -> u64 {
        use std::os::unix::fs::FileExt;

        let Some(file) = &self.file else { return 0 };
        let mut text = [0; 96];
        let length = file.read_at(&mut text, 0).unwrap_or(0);
        // "time on the processor, time waiting for it, number of slices"
        let delayed = std::str::from_utf8(&text[..length]).ok().and_then(|text| text.split_ascii_whitespace().nth(1));
        delayed.and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

#[cfg(not(target_os = "linux"))]
impl Schedule {
    pub(crate) fn of_this_thread() -> Schedule {
        Schedule::default()
    }

    pub(crate) fn delayed(&self) -> u64 {
        0
    }
}

/// How long anything on the machine has waited for a processor (the kernel's "pressure stall information").
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    file: Option<std::fs::File>,
}

#[cfg(target_os = "linux")]
impl Pressure {
    /// Where the kernel keeps no such statistics, nothing has ever waited.
    pub(crate) fn of_the_machine() -> Pressure {
        Pressure { file: std::fs::File::open("/proc/pressure/cpu").ok() }
    }

    /// Nanoseconds since the machine was started.
    pub(crate) fn waited(&self) -> u64 {
        use std::os::unix::fs::FileExt;

        let Some(file) = &self.file else { return 0 };
        let mut text = [0; 192];
        let length = file.read_at(&mut text, 0).unwrap_or(0);
        std::str::from_utf8(&text[..length]).ok().and_then(total).unwrap_or(0)
    }
}

#[cfg(not(target_os = "linux"))]
impl Pressure {
    pub(crate) fn of_the_machine() -> Pressure {
        Pressure::default()
    }

    pub(crate) fn waited(&self) -> u64 {
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
    fn a_thread_that_sleeps_is_not_delayed() {
        let schedule = Schedule::of_this_thread();
        let before = schedule.delayed();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(schedule.delayed() - before < 20_000_000);
    }

    #[test]
    fn the_pressure_is_what_some_had_to_wait() {
        let text = "some avg10=99.11 avg60=97.89 avg300=84.87 total=10751763\nfull avg10=0.00 total=7\n";
        assert_eq!(total(text), Some(10_751_763_000));
        assert_eq!(total("nonsense"), None);
    }
}
