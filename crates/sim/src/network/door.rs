//! What a process sees of the network.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use isotherm_host::{BoxFuture, BoxListener, BoxStream, Listener, Network, Peer};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{Address, Net, Plug};
use crate::life::{Life, Name};

/// How long a dial waits for an answer, as on a real network.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams that nobody has accepted yet; one more is not answered.
const BACKLOG_MAX: usize = 128;
/// What is spoken here is the same in every run of a seed, so its bytes count for the fingerprint. (HTTP carries the
/// real date, WebSocket its masks.)
const MQTTS: u16 = 8883;

/// What a process sees of the network.
#[derive(Debug)]
pub(crate) struct NetworkDoor {
    pub(crate) net: Net,
    pub(crate) life: Arc<Life>,
}

/// Streams that were dialled and not accepted yet.
#[derive(Debug)]
pub(super) struct Backlog {
    life: Arc<Life>,
    plugs: Mutex<VecDeque<Plug>>,
    news: Notify,
}

impl Backlog {
    pub(super) fn is_of(&self, life: &Arc<Life>) -> bool {
        Arc::ptr_eq(&self.life, life)
    }

    pub(super) fn close(&self) {
        let plugs = std::mem::take(&mut *self.plugs.lock().unwrap_or_else(PoisonError::into_inner));
        drop(plugs);
    }
}

impl NetworkDoor {
    async fn knock(&self, host: &Name, address: Address) -> io::Result<BoxStream> {
        let link = self.net.link(&self.life.machine, host);
        let whole = async {
            while link.is_cut() {
                link.whole.notified().await;
            }
            sleep(link.delay(&self.net.chance, 0)).await;
        };
        timeout(DIAL_TIMEOUT, whole).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        if !self.life.is_alive() {
            return Err(dead());
        }
        let hashed = address == Address::Tcp(MQTTS);
        let backlog = self.net.lock().listening.get(&(Arc::clone(host), address)).cloned();
        let Some(backlog) = backlog else {
            if self.net.is_powered(host) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            sleep(DIAL_TIMEOUT).await;
            return Err(io::ErrorKind::TimedOut.into());
        };
        let (ours, theirs) = self.net.draw_cable(&self.life, &backlog.life, hashed);
        {
            let mut plugs = backlog.plugs.lock().unwrap_or_else(PoisonError::into_inner);
            if plugs.len() >= BACKLOG_MAX {
                return Err(io::ErrorKind::TimedOut.into());
            }
            plugs.push_back(theirs);
        }
        backlog.news.notify_one();
        sleep(link.delay(&self.net.chance, 0)).await;
        Ok(Box::new(ours))
    }

    fn open(&self, address: Address) -> io::Result<BoxListener> {
        if !self.life.is_alive() {
            return Err(dead());
        }
        let key = (Arc::clone(&self.life.machine), address.clone());
        let backlog =
            Arc::new(Backlog { life: Arc::clone(&self.life), plugs: Mutex::default(), news: Notify::new() });
        let mut inner = self.net.lock();
        if inner.listening.contains_key(&key) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        inner.listening.insert(key, Arc::clone(&backlog));
        Ok(Box::new(Ear { net: self.net.clone(), backlog, address }))
    }
}

impl Network for NetworkDoor {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move { self.knock(&Name::from(host), Address::Tcp(port)).await })
    }

    fn dial_unix<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<BoxStream>> {
        let here = &self.life.machine;
        Box::pin(async move { self.knock(here, Address::Unix(path.to_owned())).await })
    }

    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<BoxListener>> {
        Box::pin(async move { self.open(Address::Tcp(address.port())) })
    }

    fn listen_unix<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<BoxListener>> {
        Box::pin(async move { self.open(Address::Unix(path.to_owned())) })
    }

    fn is_private(&self) -> bool {
        true
    }
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

#[derive(Debug)]
struct Ear {
    net: Net,
    backlog: Arc<Backlog>,
    address: Address,
}

impl Listener for Ear {
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, Peer)>> {
        Box::pin(async move {
            loop {
                let plug = self.backlog.plugs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                if let Some(plug) = plug {
                    let peer = match self.address {
                        Address::Tcp(port) => Peer::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
                        Address::Unix(_) => Peer::Unix,
                    };
                    return Ok((Box::new(plug) as BoxStream, peer));
                }
                self.backlog.news.notified().await;
            }
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self.address {
            Address::Tcp(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let key = (Arc::clone(&self.backlog.life.machine), self.address.clone());
        let mut inner = self.net.lock();
        if inner.listening.get(&key).is_some_and(|listening| Arc::ptr_eq(listening, &self.backlog)) {
            inner.listening.remove(&key);
        }
    }
}
