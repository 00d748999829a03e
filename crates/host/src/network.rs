//! The network: where streams of bytes come from.

use std::fmt::{self, Debug};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, lookup_host};
use tokio::time::timeout;

/// How long one address may take to answer a dial before the next is tried.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How many of a name's addresses are tried.
const DIAL_ADDRESSES_MAX: usize = 8;

/// A future behind a pointer, as traits that are used as objects need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Bytes in both directions: TCP, TLS, WebSocket, a Unix socket, a simulated cable.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + Debug + ?Sized> Stream for T {}

/// Any stream.
pub type BoxStream = Box<dyn Stream>;

/// Dials and listens.
pub trait Network: Send + Sync + Debug {
    /// Opens a stream to a port of a host, given by name or by address.
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>>;
    /// Opens a stream to a Unix socket.
    fn dial_unix<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<BoxStream>>;
    /// Listens; port 0 lets the system choose.
    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<BoxListener>>;
    /// Listens on a Unix socket. A socket file that nobody answers any more is replaced.
    fn listen_unix<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<BoxListener>>;

    /// Whether no stranger can be on the line, as on a simulation's cables: then both ends leave TLS out, which costs
    /// time there and draws chance that no seed gives. Never so on a network that is real.
    fn is_private(&self) -> bool {
        false
    }
}

/// Takes in the streams that others dial.
pub trait Listener: Send + Sync + Debug {
    /// The next stream. Can be dropped and called again without losing one.
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, Peer)>>;
    /// Where it listens; an error for a Unix socket, which has no such address.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Any listener.
pub type BoxListener = Box<dyn Listener>;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A process somewhere, by its address.
    Tcp(SocketAddr),
    /// A process on this machine.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => write!(f, "{address}"),
            Peer::Unix => f.write_str("unix"),
        }
    }
}

/// The machine's own network. Every TCP stream has Nagle's delay off: we write whole batches ourselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealNetwork;

impl Network for RealNetwork {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(dial_tcp(host, port))
    }

    fn dial_unix<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let stream = UnixStream::connect(path).await.map_err(|error| at(path.display(), error))?;
            Ok(Box::new(stream) as BoxStream)
        })
    }

    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<BoxListener>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await.map_err(|error| at(address, error))?;
            Ok(Box::new(RealListener(listener)) as BoxListener)
        })
    }

    fn listen_unix<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<BoxListener>> {
        Box::pin(async move {
            let listener = bind_unix(path).await.map_err(|error| at(path.display(), error))?;
            Ok(Box::new(RealUnixListener { listener, path: path.to_owned() }) as BoxListener)
        })
    }
}

async fn dial_tcp(host: &str, port: u16) -> io::Result<BoxStream> {
    let bare = host.trim_start_matches('[').trim_end_matches(']'); // an IPv6 address may come in brackets
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let addresses = lookup_host((bare, port)).await.map_err(|error| at(host, error))?;
    for address in addresses.take(DIAL_ADDRESSES_MAX) {
        match timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(Box::new(stream));
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "no answer in 10 s"),
        }
    }
    Err(at(format_args!("{host}:{port}"), last))
}

async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        done => return done,
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        _ => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
    }
    std::fs::remove_file(path)?; // left behind by a process that was killed
    UnixListener::bind(path)
}

/// The same error, saying where.
fn at(place: impl fmt::Display, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{place}: {error}"))
}

#[derive(Debug)]
struct RealListener(TcpListener);

impl Listener for RealListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, Peer)>> {
        Box::pin(async move {
            loop {
                match self.0.accept().await {
                    Ok((stream, address)) => {
                        if stream.set_nodelay(true).is_ok() {
                            return Ok((Box::new(stream) as BoxStream, Peer::Tcp(address)));
                        } // else it is gone already
                    }
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => return Err(error),
                }
            }
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Takes its socket file away with it.
#[derive(Debug)]
struct RealUnixListener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener for RealUnixListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, Peer)>> {
        Box::pin(async move {
            let (stream, _) = self.listener.accept().await?;
            Ok((Box::new(stream) as BoxStream, Peer::Unix))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a Unix socket has a path and no address"))
    }
}

impl Drop for RealUnixListener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // somebody may have been faster
    }
}
