//! Notices that this process is a forked child. `unsafe` for one call to `pthread_atfork`.
//!
//! A child made by `fork()` inherits the reactor's descriptors, and an epoll instance is shared with the parent: a child
//! that polled it would steal the parent's events, one that deregistered a socket would make the parent deaf. So a reactor
//! remembers the generation it was made in and does nothing in a later one.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);
static INSTALL: Once = Once::new();

/// How many forks lie between this process and the one that first asked.
pub(crate) fn generation() -> u32 {
    INSTALL.call_once(|| {
        // SAFETY: the handler is a plain function that touches one atomic, which is async-signal-safe; it lives as long as
        // the program's code. A failure (out of memory) leaves fork detection off, and nothing else wrong.
        unsafe { libc::pthread_atfork(None, None, Some(count_fork)) };
    });
    GENERATION.load(Ordering::Relaxed)
}

extern "C" fn count_fork() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
