//! The doors: accept, TLS, and a task for each connection. What happens in one connection, a panic too, costs
//! only that connection.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use isotherm_host::tls::PeerCertificate;
use isotherm_host::{Aside, BoxFuture, BoxListener, BoxStream, Host, Peer, memory};
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::core::Credential;
use crate::dialect;
use crate::shared::Shared;

/// Connections open at once, over all doors; one more is closed unheard, and counted.
pub(crate) const CONNECTIONS_MAX: usize = 10_000;
/// TLS handshakes under way at once; one more is closed unheard. Each holds some 30 KiB.
const HANDSHAKES_MAX: usize = 2_000;
/// How long a handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long accepting rests when the system has no socket to give.
const REST: Duration = Duration::from_millis(100);
/// How often it is looked whether a crowd has gone.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Fewer connections than this are no crowd.
const CROWD: usize = 64;
/// With more connections than this, those that are not of the site's own modules are served where they hold nobody up.
const MANY: usize = 256;
/// How long open connections have to end when the hub does.
const FAREWELL: Duration = Duration::from_secs(5);

/// What is spoken behind a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Mqtts,
    Amqps,
    Https,
}

/// Room for connections, shared by all doors.
#[derive(Debug)]
pub(crate) struct Room {
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    /// Where hands are shaken: a handshake is the dearest thing that a stranger can have for nothing, and a thousand
    /// of them must not stand between those who are in and the hub.
    porch: Aside,
    /// Where many strangers are served, and whoever has not yet said who it is.
    yard: Aside,
    /// Where everybody else is.
    house: Handle,
}

impl Room {
    pub(crate) fn new(host: &Host) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            porch: host.aside("hub-porch"),
            yard: host.aside("hub-yard"),
            house: Handle::current(),
        }
    }

    /// A place for a connection and one for its handshake; else the name under which its refusal is counted.
    fn admit(&self) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), &'static str> {
        let seat = Arc::clone(&self.connections).try_acquire_owned();
        let seat = seat.map_err(|_| "connections_refused_too_many")?;
        let greeting = Arc::clone(&self.handshakes).try_acquire_owned();
        Ok((seat, greeting.map_err(|_| "connections_refused_too_many_handshakes")?))
    }

    /// Serves a connection: among many in the yard, until it is known to be of the site.
    pub(crate) async fn serve(&self, work: BoxFuture<'static, ()>, of_the_site: Arc<AtomicBool>) {
        if self.open() > MANY { self.yard.begin(work, of_the_site).await } else { work.await }
    }

    /// Starts a task in the house, from wherever this is called.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.house.spawn(work);
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        CONNECTIONS_MAX - self.connections.available_permits()
    }

    /// Waits until every connection has ended, for a while.
    pub(crate) async fn emptied(&self) {
        let everybody = u32::try_from(CONNECTIONS_MAX).expect("a few thousand");
        if timeout(FAREWELL, self.connections.acquire_many(everybody)).await.is_err() {
            tracing::warn!(open = self.open(), "connections did not end in time and are dropped");
        }
    }
}

/// Takes in connections at one door until the hub ends.
pub(crate) async fn listen(shared: Arc<Shared>, listener: BoxListener, door: Door) {
    let stop = shared.host.stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&shared, stream, peer, door),
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted at the moment");
                shared.counters.count("accept_failed");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

fn admit(shared: &Arc<Shared>, stream: BoxStream, peer: Peer, door: Door) {
    let (seat, greeting) = match shared.room.admit() {
        Ok(places) => places,
        Err(full) => return shared.counters.count(full),
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let connection = connect(Arc::clone(&shared), stream, door, greeting, Arc::new(seat));
        if AssertUnwindSafe(connection).catch_unwind().await.is_err() {
            tracing::error!(%peer, "a connection panicked; it is closed, the others go on");
            shared.counters.count("connections_panicked");
        }
    });
}

async fn connect(
    shared: Arc<Shared>,
    stream: BoxStream,
    door: Door,
    greeting: OwnedSemaphorePermit,
    seat: Arc<OwnedSemaphorePermit>,
) {
    let tls = shared.tls();
    // Boxed, as what follows is: a connection keeps no room for what it has left behind.
    let greeting_it = Box::pin(async move { timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await });
    let greeted = tokio::select! {
        biased;
        () = shared.host.stop.stopped() => return,
        greeted = shared.room.porch.run(greeting_it) => greeted,
    };
    let (stream, certificate) = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
            return shared.counters.count("tls_too_slow"); // the same patience, sooner by a hair
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            return shared.counters.count("tls_failed");
        }
        Err(_) => return shared.counters.count("tls_too_slow"),
    };
    drop(greeting);
    let of_the_site = Arc::default();
    let certificate = certificate.map(Arc::new);
    let arrival = Arrival { certificate, of_the_site: Arc::clone(&of_the_site), _seat: seat };
    let serving: BoxFuture<'static, ()> = match door {
        Door::Mqtts => Box::pin(dialect::mqtt::serve(Arc::clone(&shared), stream, arrival)),
        Door::Amqps => Box::pin(dialect::amqp::serve(Arc::clone(&shared), stream, arrival)),
        Door::Https => Box::pin(dialect::http::serve(Arc::clone(&shared), stream, arrival)),
    };
    shared.room.serve(serving, of_the_site).await;
}

/// Gives memory back: now that the hub has started, and each time that a crowd has gone, until the hub ends.
pub(crate) async fn tidy(shared: Arc<Shared>) {
    memory::forget_start();
    let mut most = 0;
    loop {
        tokio::select! {
            biased;
            () = shared.host.stop.stopped() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let open = shared.room.open();
        most = most.max(open);
        if has_gone(most, open) {
            shared.host.blocking(memory::give_back).await;
            most = open;
        }
    }
}

/// Whether of as many connections as there were, so few are left that it is worth looking for memory.
fn has_gone(most: usize, open: usize) -> bool {
    most >= CROWD && open <= most / 2
}

/// What is known of a peer once it is inside.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// The certificates that it showed in the handshake, if any.
    certificate: Option<Arc<PeerCertificate>>,
    /// Set once it has proven to be one of the site's own modules.
    of_the_site: Arc<AtomicBool>,
    /// Its place among the connections, taken for as long as anybody holds this; a WebSocket outlives its HTTP.
    _seat: Arc<OwnedSemaphorePermit>,
}

/// A peer's certificate, looked at.
pub(crate) struct Judged {
    thumbprints: [String; 2],
    trusted: bool,
    common_name: String,
}

impl Arrival {
    /// Somebody has proven who it is: one of the site's own modules, or not.
    pub(crate) fn proven(&self, of_the_site: bool) {
        self.of_the_site.fetch_or(of_the_site, Ordering::AcqRel);
    }

    /// For [`Room::serve`].
    pub(crate) fn of_the_site(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.of_the_site)
    }

    /// Whether a certificate was shown at all.
    pub(crate) fn has_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// Looks at the certificate: whose is it, and does it lead to one of the `roots`?
    pub(crate) fn judge(&self, roots: &str, now: Timestamp) -> Option<Judged> {
        let shown = self.certificate.as_deref()?;
        let leaf = shown.leaf();
        Some(Judged {
            thumbprints: [isotherm_pki::thumbprint(leaf), isotherm_pki::thumbprint_sha256(leaf)],
            trusted: !roots.is_empty() && isotherm_pki::chain_trusted(&shown.chain, roots, now).is_ok(),
            common_name: isotherm_pki::common_name(leaf).unwrap_or_default(),
        })
    }
}

impl Judged {
    /// As the hub's mind wants it.
    pub(crate) fn credential(&self) -> Credential<'_> {
        Credential::Certificate {
            thumbprints: &self.thumbprints,
            chain_trusted: self.trusted,
            common_name: &self.common_name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_has_gone_when_half_of_it_has_and_few_are_no_crowd() {
        assert!(has_gone(5_000, 2_500) && has_gone(CROWD, 2));
        assert!(!has_gone(5_000, 2_501) && !has_gone(CROWD - 1, 2));
    }

    #[tokio::test]
    async fn among_many_only_who_is_of_the_site_is_served_where_the_hub_is() {
        let room = Room::new(&Host::real());
        let here = std::thread::current().id();
        let served_here = async |of_the_site: bool| {
            let (asked, answer) = tokio::sync::oneshot::channel();
            let known = Arc::new(AtomicBool::new(of_the_site));
            let work = async move {
                tokio::task::yield_now().await;
                let _ = asked.send(std::thread::current().id());
            };
            room.serve(Box::pin(work), known).await;
            answer.await.expect("the work was done") == here
        };
        let mut seats: Vec<_> = (0..MANY).map(|_| room.admit().expect("there is room")).collect();
        assert!(served_here(false).await, "few");
        seats.push(room.admit().expect("there is room"));
        assert!(!served_here(false).await, "many");
        assert!(served_here(true).await, "many, and one of the site's own");
    }

    #[tokio::test]
    async fn there_is_room_for_so_many_connections_and_so_many_handshakes_and_not_one_more() {
        let room = Room::new(&Host::real());
        let mut seats = Vec::new();
        while seats.len() < CONNECTIONS_MAX {
            let mut greetings = Vec::new();
            for _ in 0..HANDSHAKES_MAX {
                let (seat, greeting) = room.admit().expect("there is room");
                seats.push(seat);
                greetings.push(greeting);
            }
            if seats.len() < CONNECTIONS_MAX {
                assert_eq!(room.admit().unwrap_err(), "connections_refused_too_many_handshakes");
                assert_eq!(room.open(), seats.len(), "who is refused takes no seat");
            }
        }
        assert_eq!(room.admit().unwrap_err(), "connections_refused_too_many");
        seats.pop();
        assert!(room.admit().is_ok(), "one left, one may come");
    }
}
