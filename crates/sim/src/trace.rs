//! What happened, in order: a fingerprint of it always, the lines themselves when somebody wants to read them.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// FNV-1a's prime and beginning: not for secrets, only to tell two traces apart.
const PRIME: u64 = 0x0000_0100_0000_01b3;
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// The trace of one run. Clones are the same trace.
#[derive(Clone)]
pub(crate) struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    began: Instant,
    hash: u64,
    line: String,
    told: bool,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace")
    }
}

impl Trace {
    /// An empty one; `told` prints each line to standard error as it comes.
    pub(crate) fn begin(told: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner { began: Instant::now(), hash: BASIS, line: String::new(), told })))
    }

    /// One more line.
    pub(crate) fn say(&self, what: fmt::Arguments<'_>) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.line.clear();
        let millis = inner.began.elapsed().as_millis();
        let _ = write!(inner.line, "{:>4}.{:03} {what}", millis / 1000, millis % 1000); // a string takes everything
        if inner.told {
            eprintln!("{}", inner.line);
        }
        inner.hash = mixed(inner.hash, inner.line.as_bytes());
    }

    /// Bytes that count for the fingerprint and are not shown.
    pub(crate) fn mix(&self, bytes: &[u8]) {
        let mut inner = self.lock();
        inner.hash = mixed(inner.hash, bytes);
    }

    /// The fingerprint of all so far.
    pub(crate) fn hash(&self) -> u64 {
        self.lock().hash
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mixed(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}
