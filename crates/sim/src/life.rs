//! One life of a process: from its start to the moment it is killed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use isotherm_host::Stop;
use tokio::sync::Notify;

/// A machine's name, which is also its name on the network.
pub(crate) type Name = Arc<str>;

/// One life of a process. Its tasks cannot be ended from outside, but everything they could do to the world goes
/// through doors that look here first: a dead process reads and writes nothing any more.
pub(crate) struct Life {
    pub(crate) machine: Name,
    /// Counted from 1, over all machines.
    pub(crate) number: u64,
    /// Told when it dies, so that what is left of it goes away.
    pub(crate) stop: Stop,
    /// Rung when it died of something that happened inside.
    pub(crate) died: Notify,
    alive: AtomicBool,
    last_step: AtomicBool,
}

impl Life {
    pub(crate) fn new(machine: &Name, number: u64) -> Arc<Self> {
        let (stop, died) = (Stop::new(), Notify::new());
        Arc::new(Self {
            machine: Arc::clone(machine),
            number,
            stop,
            died,
            alive: AtomicBool::new(true),
            last_step: AtomicBool::new(false),
        })
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// From here on it does nothing to the world.
    pub(crate) fn end(&self) {
        self.alive.store(false, Ordering::Relaxed);
        self.died.notify_one();
    }

    /// It died in the middle of a write, of which a part may be done.
    pub(crate) fn leaves_part_of_it(&self, writes: bool) {
        self.last_step.store(writes, Ordering::Relaxed);
    }

    /// Whether this is the write in which it died; true once.
    pub(crate) fn left_part_of_it(&self) -> bool {
        self.last_step.swap(false, Ordering::Relaxed)
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.machine, self.number)
    }
}
