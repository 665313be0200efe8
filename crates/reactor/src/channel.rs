//! A queue from any thread into a task of the reactor: the thread-safe notifier.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// A queue whose senders may be on any thread and whose one receiver is a task.
///
/// ```
/// use overdrive_reactor::{Reactor, channel};
///
/// let reactor = Reactor::new()?;
/// let (sender, mut receiver) = channel();
/// std::thread::spawn(move || sender.send("from afar"));
/// reactor.block_on(async move { assert_eq!(receiver.receive().await, Some("from afar")) });
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Mutex::new(Shared { items: VecDeque::new(), waker: None, senders: 1, receiver: true }));
    (Sender(shared.clone()), Receiver(shared))
}

/// The sending end; clones share the queue.
pub struct Sender<T>(Arc<Mutex<Shared<T>>>);

impl<T> Sender<T> {
    /// Puts an item into the queue and wakes the receiver. The item comes back when the receiver is gone.
    pub fn send(&self, item: T) -> Result<(), T> {
        let waker = {
            let mut shared = lock(&self.0);
            if !shared.receiver {
                return Err(item);
            }
            shared.items.push_back(item);
            shared.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        lock(&self.0).senders += 1;
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut shared = lock(&self.0);
            shared.senders -= 1;
            if shared.senders == 0 { shared.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The receiving end.
pub struct Receiver<T>(Arc<Mutex<Shared<T>>>);

impl<T> Receiver<T> {
    /// The next item; `None` when the queue is empty and every sender is gone.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut shared = lock(&self.0);
        match shared.items.pop_front() {
            Some(item) => Poll::Ready(Some(item)),
            None if shared.senders == 0 => Poll::Ready(None),
            None => {
                shared.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// As [`Receiver::poll_receive`], to be awaited.
    pub async fn receive(&mut self) -> Option<T> {
        std::future::poll_fn(|cx| self.poll_receive(cx)).await
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let items = {
            let mut shared = lock(&self.0);
            shared.receiver = false;
            std::mem::take(&mut shared.items)
        };
        // Outside the lock: an item's destructor may be anything.
        drop(items);
    }
}

struct Shared<T> {
    items: VecDeque<T>,
    waker: Option<Waker>,
    senders: usize,
    receiver: bool,
}

fn lock<T>(shared: &Mutex<Shared<T>>) -> std::sync::MutexGuard<'_, Shared<T>> {
    shared.lock().expect("no code panics while holding it")
}
