//! Runs planning on threads with large stacks.
//!
//! DataFusion's planner recurses, also in `Clone` and `Drop`, where nothing can catch it: a statement of a kilobyte overflows
//! the stack of an ordinary worker thread and would end the process.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

/// Enough for the deepest statement that the limits let through.
const STACK_BYTES: usize = 64 << 20;
/// More waiting statements than this wait for a place in the queue.
const QUEUE_MAX: usize = 1024;

type Work = Box<dyn FnOnce() + Send>;

/// A few threads; dropping the pool lets them end.
#[derive(Debug, Clone)]
pub struct PlanningPool {
    queue: SyncSender<Work>,
}

impl PlanningPool {
    /// # Errors
    /// Where the system gives no thread.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let (queue, work) = sync_channel::<Work>(QUEUE_MAX);
        let work = Arc::new(Mutex::new(work));
        for number in 0..threads.max(1) {
            let work = Arc::clone(&work);
            std::thread::Builder::new()
                .name(format!("planning-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || run(&work))?;
        }
        Ok(Self { queue })
    }

    /// Runs `plan` on a thread of the pool.
    ///
    /// `None` when it panicked or the pool is full: the caller's statement fails, nothing else does.
    pub async fn run<T: Send + 'static>(&self, plan: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move || {
            // The receiver is gone when the statement was cancelled meanwhile.
            let _: Result<(), T> = answer.send(plan());
        });
        self.queue.try_send(work).ok()?;
        answered.await.ok()
    }
}

fn run(work: &Mutex<Receiver<Work>>) {
    loop {
        let next = match work.lock() {
            Ok(receiver) => receiver.recv(),
            Err(_) => return,
        };
        match next {
            Ok(work) => {
                // A panic is a fault of one statement: its sender is dropped, and the thread lives on.
                let _: Result<(), _> = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            }
            Err(_) => return,
        }
    }
}
