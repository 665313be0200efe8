//! Values of the loop's thread inside Python objects, which may die on any thread. `unsafe` for claiming that they may.
//!
//! Python frees an object on whichever thread drops the last reference or runs the garbage collector, so a class must be
//! `Send` and `Sync`; but what our classes hold (`Rc`, `Cell`) belongs to the loop's thread. Invariants:
//! * the value is touched, and its reference count changed, on the thread that made it, and nowhere else;
//! * a [`LoopBound`] that dies elsewhere puts its reference into the [`Graveyard`], which the loop's thread empties;
//! * once that thread has ended, the graveyard is [abandoned](Graveyard::abandon): what then comes to it is dropped at once,
//!   one after the other, as all that drop hold the GIL.

use std::any::Any;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// An `Rc` that may be carried, but not used, anywhere.
pub(crate) struct LoopBound<T: 'static> {
    value: ManuallyDrop<Rc<T>>,
    thread: ThreadMark,
    graveyard: Arc<Graveyard>,
}

// SAFETY: `get` and `drop` look at the thread before they touch the value; nothing else does.
unsafe impl<T: 'static> Send for LoopBound<T> {}
// SAFETY: as above.
unsafe impl<T: 'static> Sync for LoopBound<T> {}

impl<T: 'static> LoopBound<T> {
    pub(crate) fn new(value: Rc<T>, graveyard: &Arc<Graveyard>) -> LoopBound<T> {
        LoopBound { value: ManuallyDrop::new(value), thread: ThreadMark::here(), graveyard: graveyard.clone() }
    }

    /// The value, or a `RuntimeError` on a foreign thread.
    pub(crate) fn get(&self) -> PyResult<&Rc<T>> {
        self.get_here().ok_or_else(|| {
            PyRuntimeError::new_err(
                "this belongs to the event loop's thread; use loop.call_soon_threadsafe to get there",
            )
        })
    }

    /// See [`Graveyard::abandon`].
    pub(crate) fn abandon(&self) {
        self.graveyard.abandon();
    }

    /// Another value of the same thread, which must be this one.
    pub(crate) fn beside<U>(&self, value: Rc<U>) -> LoopBound<U> {
        LoopBound::new(value, &self.graveyard)
    }

    /// Another reference to the same value; a `RuntimeError` on a foreign thread.
    pub(crate) fn another(&self) -> PyResult<LoopBound<T>> {
        Ok(LoopBound::new(self.get()?.clone(), &self.graveyard))
    }

    /// The value, or nothing on a foreign thread.
    pub(crate) fn get_here(&self) -> Option<&Rc<T>> {
        (self.thread == ThreadMark::here()).then(|| self.value.deref())
    }
}

impl<T: 'static> Drop for LoopBound<T> {
    fn drop(&mut self) {
        // SAFETY: taken once, here, and not used afterwards.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        if self.thread == ThreadMark::here() {
            drop(value);
        } else {
            self.graveyard.bury(value);
        }
    }
}

/// What died on foreign threads.
#[derive(Default)]
pub(crate) struct Graveyard {
    occupied: AtomicBool,
    abandoned: AtomicBool,
    dead: Mutex<Vec<Buried>>,
}

impl Graveyard {
    fn bury(&self, value: Rc<dyn Any>) {
        self.dead.lock().expect("no code panics while holding it").push(Buried(value));
        self.occupied.store(true, Ordering::Release);
        if self.abandoned.load(Ordering::Acquire) {
            self.empty();
        }
    }

    /// The loop's thread has ended for good: nobody but those who come here touches what belonged to it any more.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.empty();
    }

    /// Drops the dead. To be called on the loop's thread, where all of them come from, as long as there is one.
    pub(crate) fn empty(&self) {
        if self.occupied.swap(false, Ordering::Acquire) {
            let dead = std::mem::take(&mut *self.dead.lock().expect("no code panics while holding it"));
            drop(dead);
        }
    }
}

/// A reference on its way home.
struct Buried(#[allow(dead_code, reason = "held to be dropped")] Rc<dyn Any>);

// SAFETY: moved between threads, but dropped only by `Graveyard::empty`: on the thread the value belongs to, or with the GIL
// held after that thread has ended. An engine that is itself leaked leaks these, too.
unsafe impl Send for Buried {}

/// Identifies a live thread at the price of an address.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ThreadMark(usize);

impl ThreadMark {
    fn here() -> ThreadMark {
        thread_local!(static MARK: u8 = const { 0 });
        ThreadMark(MARK.with(|mark| std::ptr::from_ref(mark) as usize))
    }
}
