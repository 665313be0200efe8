//! What the operating system says of this process.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::host::ffi;

/// Sizes in bytes, times in seconds.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) memory: u64,
    pub(super) virtual_memory: u64,
    pub(super) processor: f64,
    pub(super) descriptors: u64,
    pub(super) most_descriptors: u64,
}

impl Usage {
    pub(super) fn now() -> Usage {
        let (virtual_memory, memory) = memory();
        let processor = ffi::processor_time().as_secs_f64();
        Usage {
            memory,
            virtual_memory,
            processor,
            descriptors: descriptors(),
            most_descriptors: ffi::most_descriptors(),
        }
    }
}

/// Seconds since 1970.
pub(super) fn wall_clock() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// All of it, and what is resident. Nothing where there is no `/proc`.
fn memory() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split_ascii_whitespace().map(|number| number.parse().unwrap_or(0_u64));
    let size = ffi::page_size();
    (pages.next().unwrap_or(0) * size, pages.next().unwrap_or(0) * size)
}

fn descriptors() -> u64 {
    // The folder that is being read is one of them.
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64)
}
