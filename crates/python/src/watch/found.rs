//! Which routes the requests of late have found, for the tasks that they have started before they found one.

use std::sync::atomic::{AtomicU64, Ordering};

/// In fixed memory: the place of a request that came long ago is taken by another one. Written by the loop's thread alone.
#[derive(Debug)]
pub(crate) struct FoundRoutes(Box<[AtomicU64]>);

impl Default for FoundRoutes {
    fn default() -> FoundRoutes {
        FoundRoutes((0..REQUESTS).map(|_| AtomicU64::default()).collect())
    }
}

impl FoundRoutes {
    pub(super) fn note(&self, request: u64, route: usize) {
        self.slot(request).store(request << ROUTE_BITS | (route as u64 + 1), Ordering::Relaxed);
    }

    /// The place of the route that a request has found, if that is known and not forgotten.
    pub(crate) fn of(&self, request: u64) -> Option<usize> {
        let noted = self.slot(request).load(Ordering::Relaxed);
        let route = (noted & ((1 << ROUTE_BITS) - 1)) as usize;
        if noted >> ROUTE_BITS == request { route.checked_sub(1) } else { None }
    }

    fn slot(&self, request: u64) -> &AtomicU64 {
        &self.0[request as usize % REQUESTS]
    }
}

const REQUESTS: usize = 4096;
/// Enough for all routes that are told apart.
const ROUTE_BITS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_until_another_takes_its_place() {
        let found = FoundRoutes::default();
        assert_eq!((found.of(0), found.of(7)), (None, None));
        found.note(7, 0);
        assert_eq!((found.of(7), found.of(7 + REQUESTS as u64)), (Some(0), None));
        found.note(7 + REQUESTS as u64, 3999);
        assert_eq!((found.of(7), found.of(7 + REQUESTS as u64)), (None, Some(3999)));
    }
}
