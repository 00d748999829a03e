//! What every connection of a hub shares.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use isotherm_host::Host;
use isotherm_host::tls::ServerTls;
use isotherm_iothub::Identity;
use tokio::sync::oneshot;

use crate::core::{Core, Now, SessionId};
use crate::counters::{Counters, Seldom};
use crate::dialect::amqp::Readers;
use crate::faults::{self, Faults};
use crate::jobs::Jobs;
use crate::listen::Room;
use crate::quotas::Throttles;
use crate::store::{Receipt, Store, Ticket};

/// The hub's mind, its store and its doors; one for all connections.
pub(crate) struct Shared {
    pub(crate) host: Host,
    pub(crate) store: Store,
    pub(crate) counters: Counters,
    pub(crate) sockets: Sockets,
    pub(crate) jobs: Jobs,
    pub(crate) faults: Faults,
    pub(crate) throttles: Throttles,
    pub(crate) room: Room,
    /// Who reads the event endpoint.
    pub(crate) readers: Readers,
    /// The port of AMQP, once it is open: old clients of the event endpoint are sent there.
    pub(crate) amqps: OnceLock<u16>,
    /// The way upstream, if there is one.
    pub(crate) upstream: OnceLock<Arc<crate::upstream::Common>>,
    /// Authorities trusted for devices' certificates, PEM; empty if none.
    pub(crate) device_roots: String,
    seldom: Seldom,
    core: Mutex<Core>,
    tls: RwLock<Arc<ServerTls>>,
}

impl Shared {
    pub(crate) fn new(
        host: Host,
        store: Store,
        mut core: Core,
        tls: ServerTls,
        device_roots: String,
        jobs: Jobs,
        throttles: Throttles,
    ) -> Arc<Self> {
        let room = Room::new(&host);
        core.hold_wakes();
        Arc::new(Self {
            host,
            store,
            counters: Counters::default(),
            sockets: Sockets::default(),
            jobs,
            faults: Faults::default(),
            throttles,
            room,
            readers: Readers::default(),
            amqps: OnceLock::new(),
            upstream: OnceLock::new(),
            device_roots,
            seldom: Seldom::default(),
            core: Mutex::new(core),
            tls: RwLock::new(Arc::new(tls)),
        })
    }

    /// The hub's mind, for one call. A connection that panicked while it held the lock costs only itself.
    pub(crate) fn core(&self) -> Mind<'_> {
        Mind(Some(self.core.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Counts what somebody did wrong, and writes the line about it unless there were many of them lately.
    pub(crate) fn remark(&self, counter: &'static str, line: impl FnOnce()) {
        self.counters.count(counter);
        if self.seldom.may_speak(self.host.now()) {
            line();
        }
    }

    /// Both clocks.
    pub(crate) fn now(&self) -> Now {
        Now { instant: self.host.now(), wall: self.host.wall() }
    }

    /// What the TLS server presents at the moment.
    pub(crate) fn tls(&self) -> Arc<ServerTls> {
        Arc::clone(&self.tls.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Presents another certificate from the next connection on.
    pub(crate) fn present(&self, tls: ServerTls) {
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tls);
    }

    /// Ends the sessions of those whom a fault names; says who they were.
    pub(crate) fn cut(&self, wanted: &faults::Wanted, now: Now) -> Vec<String> {
        let mut core = self.core();
        let struck: Vec<Identity> = core
            .identities()
            .into_iter()
            .filter(|who| wanted.is_for(who.as_str()) && core.connected(who))
            .collect();
        for who in &struck {
            core.cut(who, now);
        }
        struck.iter().map(ToString::to_string).collect()
    }

    /// The disk is full, or is no longer, as the faults in force have it.
    pub(crate) fn fill_disk(&self, now: Instant) {
        self.store.pretend_full(self.faults.is_disk_full(now));
    }

    /// Waits until what `ticket` stands for is on disk.
    pub(crate) async fn durable(&self, ticket: Ticket) {
        self.safe(ticket.into()).await;
    }

    /// Waits until a message's sender may be told.
    pub(crate) async fn safe(&self, receipt: Receipt) {
        if self.store.is_safe(&receipt) {
            return;
        }
        let notify = Arc::new(tokio::sync::Notify::new());
        let ringer = Arc::clone(&notify);
        self.store.on_safe(receipt, Arc::new(move || ringer.notify_one()));
        notify.notified().await;
    }
}

/// The hub's mind, locked. Whoever has something to take from it is woken when it is free again, not before: to be woken
/// only to wait for the lock costs as much as a message.
pub(crate) struct Mind<'a>(Option<MutexGuard<'a, Core>>);

impl Deref for Mind<'_> {
    type Target = Core;

    fn deref(&self) -> &Core {
        self.0.as_ref().expect("it is locked until it is dropped")
    }
}

impl DerefMut for Mind<'_> {
    fn deref_mut(&mut self) -> &mut Core {
        self.0.as_mut().expect("it is locked until it is dropped")
    }
}

impl Drop for Mind<'_> {
    fn drop(&mut self) {
        let wakes = self.0.take().map(|mut core| core.take_wakes());
        wakes.into_iter().flatten().for_each(|wake| wake());
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// Which connection carries which session, so that a second one of the same identity is let in only when the
/// first one's socket is closed. Whatever the dialects: they share this.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Mutex<BTreeMap<Identity, (SessionId, oneshot::Receiver<()>)>>);

impl Sockets {
    /// Enters a session's connection. What comes back ends when the connection that had the identity before is
    /// closed; `open` is dropped when this one is.
    pub(crate) fn enter(
        &self,
        who: &Identity,
        session: SessionId,
        open: oneshot::Receiver<()>,
    ) -> Option<oneshot::Receiver<()>> {
        self.lock().insert(who.clone(), (session, open)).map(|(_, before)| before)
    }

    /// Forgets a connection that is closed, unless another one took its place.
    pub(crate) fn leave(&self, who: &Identity, session: SessionId) {
        let mut sockets = self.lock();
        if sockets.get(who).is_some_and(|(entered, _)| *entered == session) {
            sockets.remove(who);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Identity, (SessionId, oneshot::Receiver<()>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
