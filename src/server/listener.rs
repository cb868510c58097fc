//! Listening sockets: bound here, or inherited from the service manager.

use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::task::Poll;

use tokio::net::{TcpListener, UnixListener};

use super::stream::Stream;
use super::{ListenAddress, ServerError};

/// Connections that may wait in the kernel: as many as come at once when a load balancer turns
/// to a new daemon.
const BACKLOG: i32 = 1024;

/// A socket that listens already.
#[derive(Debug)]
pub enum BoundListener {
    Tcp(StdTcpListener),
    Unix(StdUnixListener),
}

impl BoundListener {
    /// Binds an address. A unix socket's file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn bind(address: &ListenAddress) -> Result<BoundListener, ServerError> {
        let failed = |error: io::Error| ServerError::Listen {
            address: address.clone(),
            reason: error.to_string(),
        };
        match address {
            ListenAddress::Tcp(socket) => {
                let listener = StdTcpListener::bind(socket).map_err(failed)?;
                rustix::net::listen(&listener, BACKLOG).map_err(|error| failed(error.into()))?;
                Ok(BoundListener::Tcp(listener))
            }
            ListenAddress::Unix(path) => {
                remove_stale_socket(path);
                let listener = StdUnixListener::bind(path).map_err(|error| in_the_way(path, error));
                let listener = listener.map_err(failed)?;
                rustix::net::listen(&listener, BACKLOG).map_err(|error| failed(error.into()))?;
                Ok(BoundListener::Unix(listener))
            }
        }
    }

    /// Where it really listens: the port that the system chose where 0 was asked for.
    ///
    /// # Errors
    /// The socket is not one that listens.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match self {
            BoundListener::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            BoundListener::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().map(Path::to_path_buf);
                Ok(ListenAddress::Unix(path.unwrap_or_default()))
            }
        }
    }
}

/// A listening socket in the admin thread's runtime.
pub enum Listener {
    Tcp(TcpListener),
    Unix {
        /// Removed with the listener where the file was made here. Before it, as fields go in
        /// order: a file whose listener is closed may be replaced by another daemon's, at once.
        _file: Option<SocketFile>,
        listener: UnixListener,
    },
}

/// A socket's file, removed when nobody is to connect to it any more.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nothing depends on it: the next daemon replaces a file that was left behind.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Takes a socket into the current runtime. `made_here` sockets leave no file behind.
    ///
    /// # Errors
    /// The runtime cannot take the socket.
    pub fn attach(bound: BoundListener, made_here: bool) -> io::Result<Listener> {
        match bound {
            BoundListener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Listener::Tcp(TcpListener::from_std(listener)?))
            }
            BoundListener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                let path = address.as_pathname().filter(|_| made_here).map(Path::to_path_buf);
                let listener = UnixListener::from_std(listener)?;
                Ok(Listener::Unix { _file: path.map(SocketFile), listener })
            }
        }
    }

    /// The next connection.
    ///
    /// # Errors
    /// As the system says; some errors concern one connection only.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Responses are written whole: nothing is won by waiting for more to send.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Listener::Unix { listener, .. } => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }

    /// The next connection of those that wait already.
    pub async fn accept_waiting(&self) -> Option<io::Result<Stream>> {
        // Whatever the runtime thinks of how much this task has done: pending means none.
        let mut accepting = std::pin::pin!(tokio::task::unconstrained(self.accept()));
        poll_fn(|context| match accepting.as_mut().poll(context) {
            Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

/// The system says of any file in a socket's place that the address is in use.
fn in_the_way(path: &Path, error: io::Error) -> io::Error {
    let is_other = |metadata: std::fs::Metadata| !metadata.file_type().is_socket();
    if error.kind() == io::ErrorKind::AddrInUse
        && std::fs::symlink_metadata(path).is_ok_and(is_other)
    {
        return io::Error::other("a file that is no socket is in its place");
    }
    error
}

/// Removes a socket's file on which nobody listens; any other file is left for `bind` to refuse.
fn remove_stale_socket(path: &Path) {
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let refused = || {
        StdUnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    if is_socket && refused() {
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use super::*;

    #[tokio::test]
    async fn a_stopping_daemon_leaves_the_socket_of_its_successor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let address = ListenAddress::Unix(path.clone());
        for _ in 0..300 {
            let listener = Listener::attach(BoundListener::bind(&address).unwrap(), true).unwrap();
            let start = Arc::new(Barrier::new(2));
            let successor = std::thread::spawn({
                let (address, start) = (address.clone(), start.clone());
                move || {
                    start.wait();
                    loop {
                        if let Ok(bound) = BoundListener::bind(&address) {
                            return bound;
                        }
                    }
                }
            });
            start.wait();
            drop(listener);
            let _successor = successor.join().unwrap();
            assert!(path.exists());
        }
    }
}
