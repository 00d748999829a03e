//! Who reads the event endpoint: up to five at once for each group and partition, or one with an epoch.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isotherm_protocol::amqp::Error;

use crate::bell::Bell;
use crate::shared::Shared;

/// Readers of one partition in one group without an epoch; one more is refused.
const READERS_MAX: usize = 5;

/// All readers of all connections.
#[derive(Debug, Default)]
pub(crate) struct Readers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// By group and partition.
    readers: BTreeMap<(String, u8), Vec<Reader>>,
}

#[derive(Debug)]
struct Reader {
    serial: u64,
    epoch: Option<i64>,
    stolen: Arc<AtomicBool>,
    bell: Arc<Bell>,
}

/// A reader's place, free again when it is dropped.
pub(super) struct Place {
    shared: Arc<Shared>,
    key: (String, u8),
    serial: u64,
    stolen: Arc<AtomicBool>,
}

impl Readers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Takes a place; who has a lower epoch, or none, loses theirs and has its bell rung.
    pub(super) fn take(
        shared: &Arc<Shared>,
        group: &str,
        partition: u8,
        epoch: Option<i64>,
        bell: &Arc<Bell>,
    ) -> Result<Self, Error> {
        let key = (group.to_ascii_lowercase(), partition);
        let mut state = shared.readers.lock();
        let serial = state.next;
        state.next += 1;
        let readers = state.readers.entry(key.clone()).or_default();
        let highest = readers.iter().filter_map(|reader| reader.epoch).max();
        match (epoch, highest) {
            (Some(epoch), Some(highest)) if epoch < highest => {
                return Err(Error::new("amqp:link:stolen", format!("a reader with epoch {highest} is here")));
            }
            (None, Some(highest)) => {
                return Err(Error::new("amqp:link:stolen", format!("a reader with epoch {highest} is here")));
            }
            (None, None) if readers.len() >= READERS_MAX => {
                let why = format!("{READERS_MAX} readers are here, as many as there may be");
                return Err(Error::new("amqp:resource-limit-exceeded", why));
            }
            (None, None) => {}
            (Some(_), _) => {
                for reader in readers.drain(..) {
                    reader.stolen.store(true, Ordering::Release);
                    reader.bell.ring();
                }
            }
        }
        let stolen = Arc::new(AtomicBool::new(false));
        readers.push(Reader { serial, epoch, stolen: Arc::clone(&stolen), bell: Arc::clone(bell) });
        drop(state);
        Ok(Self { shared: Arc::clone(shared), key, serial, stolen })
    }

    /// Whether somebody with a higher epoch has it now.
    pub(super) fn is_stolen(&self) -> bool {
        self.stolen.load(Ordering::Acquire)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.readers.lock();
        if let Some(readers) = state.readers.get_mut(&self.key) {
            readers.retain(|reader| reader.serial != self.serial);
            if readers.is_empty() {
                state.readers.remove(&self.key);
            }
        }
    }
}
