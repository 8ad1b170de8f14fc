//! Listening sockets: bound once, and shared by all workers.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::umask;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use super::conn_tracker::ConnTracker;
use super::new_conn::{self, NewConn};
use super::{EarlyRefusal, Handler};
use crate::error::chain;
use crate::tasks::{Tasks, keepalive};

/// An address to listen on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListenAddr {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// The path of a Unix socket, and its mode.
    Unix(PathBuf, u32),
}

impl ListenAddr {
    /// Tells that only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(..) => true,
        }
    }

    /// The same address; a unix socket gets these permissions.
    #[must_use]
    pub fn with_mode(self, mode: u32) -> Self {
        match self {
            Self::Tcp(address) => Self::Tcp(address),
            Self::Unix(path, _) => Self::Unix(path, mode),
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path, _mode) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    tls: Option<Arc<ServerConfig>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// A socket that can't be bound. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error(
        "{0} is in use by another program: stop it, or choose another address with proxy.listen or api.listen (KEYFERRY_PROXY__LISTEN, KEYFERRY_API__LISTEN)"
    )]
    InUse(String),
    /// Any other error of the system.
    #[error("can't listen on {0}: {1}")]
    System(String, #[source] io::Error),
}

impl Listener {
    /// Binds `address`. A Unix socket whose process has ended is replaced.
    pub fn bind(address: &ListenAddr, tls: Option<Arc<ServerConfig>>) -> Result<Self, BindError> {
        let socket = match address {
            ListenAddr::Tcp(address) => Socket::Tcp(bind_tcp(*address)?),
            ListenAddr::Unix(path, mode) => Socket::Unix(bind_unix(path, *mode)?),
        };
        Ok(Self { socket, tls })
    }

    /// The address of a TCP listener, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Tells whether callers speak TLS to it.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Another handle of the same socket, for another worker.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            Socket::Tcp(socket) => Socket::Tcp(socket.try_clone()?),
            Socket::Unix(socket) => Socket::Unix(socket.try_clone()?),
        };
        Ok(Self { socket, tls: self.tls.clone() })
    }

    /// Accepts conns for `handler` until the future is dropped. Each conn is a task of its own.
    pub async fn serve<H: Handler>(
        self,
        handler: Arc<H>,
        conn_tracker: Arc<ConnTracker>,
        tasks: Tasks,
    ) -> io::Result<()> {
        let acceptor = Acceptor { handler, conn_tracker, tasks, tls: self.tls };
        match self.socket {
            Socket::Tcp(socket) => {
                let listener = TcpListener::from_std(socket)?;
                loop {
                    match listener.accept().await {
                        Ok((io, address)) => {
                            // Answers are written whole, so Nagle's algorithm only delays them.
                            let _best_effort = io.set_nodelay(true);
                            acceptor.spawn_conn(io, Some(address.ip().to_canonical()));
                        }
                        Err(error) => pause_after_failed_accept(&error).await,
                    }
                }
            }
            Socket::Unix(socket) => {
                let listener = UnixListener::from_std(socket)?;
                loop {
                    match listener.accept().await {
                        Ok((io, _address)) => acceptor.spawn_conn(io, None),
                        Err(error) => pause_after_failed_accept(&error).await,
                    }
                }
            }
        }
    }
}

struct Acceptor<H> {
    handler: Arc<H>,
    conn_tracker: Arc<ConnTracker>,
    tasks: Tasks,
    tls: Option<Arc<ServerConfig>>,
}

impl<H: Handler> Acceptor<H> {
    fn spawn_conn<T>(&self, io: T, peer: Option<IpAddr>)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handler = Arc::clone(&self.handler);
        let limits = *self.conn_tracker.limits();
        let Some(state) = self.conn_tracker.admit(peer) else {
            // A caller of TLS would have to be served a handshake first: its conn is just closed.
            if self.tls.is_none() {
                let message = handler.early_refusal(EarlyRefusal::ConnLimit);
                self.tasks.spawn(new_conn::send_and_close(io, message));
            }
            return;
        };
        let new_conn = NewConn { handler, state, limits, tasks: self.tasks.clone() };
        let tls = self.tls.clone();
        self.tasks.spawn(async move {
            match tls {
                // Boxed, so that the task of a conn without TLS stays small.
                Some(config) => Box::pin(new_conn.serve_tls(io, config)).await,
                None => drop(new_conn.serve_plain(io).await),
            }
        });
    }
}

fn bind_tcp(address: SocketAddr) -> Result<std::net::TcpListener, BindError> {
    let wrap = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address.to_string()),
        _ => BindError::System(address.to_string(), error),
    };
    let socket = std::net::TcpListener::bind(address).map_err(wrap)?;
    socket.set_nonblocking(true).map_err(wrap)?;
    // Accepted conns inherit keepalive, which finds out callers that are gone without a FIN.
    socket2::SockRef::from(&socket).set_tcp_keepalive(&keepalive()).map_err(wrap)?;
    Ok(socket)
}

fn bind_unix(path: &Path, mode: u32) -> Result<std::os::unix::net::UnixListener, BindError> {
    let name = path.display().to_string();
    let system = |error| BindError::System(name.clone(), error);
    remove_stale_socket(path)?;
    // The umask keeps others out between binding the socket and setting its mode.
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = std::os::unix::net::UnixListener::bind(path);
    umask(before);
    let socket = bound.map_err(system)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(system)?;
    socket.set_nonblocking(true).map_err(system)?;
    Ok(socket)
}

/// Removes a socket file that its process has left behind: one that refuses connections.
fn remove_stale_socket(path: &Path) -> Result<(), BindError> {
    let name = || path.display().to_string();
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let nobody_answers = || {
        let refused = StdUnixStream::connect(path).err();
        refused.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    if !metadata.file_type().is_socket() || !nobody_answers() {
        return Err(BindError::InUse(name()));
    }
    std::fs::remove_file(path).map_err(|error| BindError::System(name(), error))
}

/// Logs the failure and waits 100 ms: most likely there are no file descriptors left, and conns
/// that end free some.
async fn pause_after_failed_accept(error: &io::Error) {
    if error.kind() != io::ErrorKind::ConnectionAborted {
        tracing::warn!(error = %chain(error), "a conn was not accepted: raise the limit of open files, or lower proxy.max_connections");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
