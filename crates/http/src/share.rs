//! How the workers on one listening socket share its connections evenly. `unsafe` for atomics in a mapped file.
//!
//! The kernel hands a new connection to whichever worker asks first, and a busy loop asks less often than an idle one, so
//! that two processes may end up with 63 and 1 of 64 connections. Each worker therefore publishes how many it has in its
//! slot of a file that all of them map, and one that has more than its share waits a moment before it accepts: long enough
//! for the others, short enough that a connection is not kept waiting when the others are stuck.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::MmapRaw;

/// One worker's view of the shared counters.
///
/// A slot is eight bytes: whether a worker lives there, and its open connections, each a `u32`. The supervisor zeroes the
/// slot of a worker that died.
pub struct Share {
    map: MmapRaw,
    slot: usize,
    slots: usize,
}

impl Share {
    /// Maps `file` and announces this worker in `slot`.
    ///
    /// Fails when the file holds less than `slots` slots, or `slot` is not one of them.
    pub fn join(file: OwnedFd, slot: usize, slots: usize) -> io::Result<Share> {
        let map = MmapRaw::map_raw(&File::from(file))?;
        if slot >= slots || map.len() < slots * SLOT {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the shared file has no such slot"));
        }
        let share = Share { map, slot, slots };
        share.connections(slot).store(0, Ordering::Relaxed);
        share.alive(slot).store(1, Ordering::Release);
        Ok(share)
    }

    pub(crate) fn publish(&self, connections: usize) {
        self.connections(self.slot).store(connections as u32, Ordering::Relaxed);
    }

    /// Whether this worker, with `own` connections, has more than the others.
    pub(crate) fn is_over(&self, own: usize) -> bool {
        let (mut workers, mut total) = (0, 0);
        for slot in (0..self.slots).filter(|slot| *slot != self.slot) {
            if self.alive(slot).load(Ordering::Acquire) != 0 {
                workers += 1;
                total += self.connections(slot).load(Ordering::Relaxed) as usize;
            }
        }
        workers != 0 && own * workers > total
    }

    /// Takes this worker out of the reckoning: it does not accept any more.
    pub(crate) fn leave(&self) {
        self.alive(self.slot).store(0, Ordering::Release);
    }

    fn alive(&self, slot: usize) -> &AtomicU32 {
        self.word(slot * 2)
    }

    fn connections(&self, slot: usize) -> &AtomicU32 {
        self.word(slot * 2 + 1)
    }

    fn word(&self, index: usize) -> &AtomicU32 {
        assert!(index < self.slots * 2);
        let words = self.map.as_mut_ptr().cast::<u32>();
        // SAFETY: `join` has checked that the mapping holds this many words, a mapping starts at a page boundary and so is
        // aligned, it lives as long as `self`, and every process touches it through atomics only.
        unsafe { AtomicU32::from_ptr(words.add(index)) }
    }
}

const SLOT: usize = 8;
