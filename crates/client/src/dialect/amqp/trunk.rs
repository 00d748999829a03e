//! The connection under a session: one's own, or one that carries many identities.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use fe2o3_amqp::{connection::ConnectionHandle, session::SessionHandle};
use tokio::sync::Mutex;

use super::cord::Cord;

/// One AMQP connection for many clients: each has a session on it and shows its own token. Give clones of one to the
/// [`Options`](crate::Options) of all of them; whichever dials first dials for all.
#[derive(Debug, Clone, Default)]
pub struct Trunk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    private: bool,
    wire: Mutex<Option<Wire>>,
    sessions: AtomicUsize,
}

/// A connection that stands.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) handle: ConnectionHandle<()>,
    pub(crate) cord: Cord,
}

impl Trunk {
    /// For many.
    pub fn new() -> Self {
        Self::default()
    }

    /// For one alone.
    pub(crate) fn private() -> Self {
        Self(Arc::new(Shared { private: true, ..Shared::default() }))
    }

    pub(crate) fn is_private(&self) -> bool {
        self.0.private
    }

    /// The connection, if there is one, for whoever begins a session or dials.
    pub(crate) async fn wire(&self) -> tokio::sync::MutexGuard<'_, Option<Wire>> {
        let mut wire = self.0.wire.lock().await;
        if wire.as_ref().is_some_and(|wire| wire.handle.is_closed()) {
            drop_wire(&mut wire);
        }
        wire
    }

    pub(crate) fn enter(&self) {
        self.0.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends a session, and with the last one the connection. True once the other side has agreed.
    pub(crate) async fn leave(&self, session: &mut SessionHandle<()>) -> bool {
        let mut wire = self.0.wire.lock().await;
        let last = self.0.sessions.fetch_sub(1, Ordering::Relaxed) == 1;
        match wire.as_mut() {
            Some(standing) if last => {
                let closed = standing.handle.close().await.is_ok();
                drop_wire(&mut wire);
                closed
            }
            Some(_) => {
                drop(wire);
                session.is_ended() || session.end().await.is_ok()
            }
            None => true,
        }
    }

    /// Nobody answers there any more.
    pub(crate) async fn forget(&self) {
        drop_wire(&mut *self.0.wire.lock().await);
    }
}

/// The stream ends first: see [`Cord`].
fn drop_wire(wire: &mut Option<Wire>) {
    if let Some(wire) = wire.take() {
        wire.cord.cut();
    }
}
