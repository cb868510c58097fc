//! Sockets that a service manager opened and hands over: the daemon then needs no right to bind
//! them, and connections made while it restarts wait instead of being refused.

use std::env;
use std::fmt;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

/// More sockets than anybody writes into a unit.
const MAX_SOCKETS: usize = 256;

/// A listener that was handed over, set not to block.
#[derive(Debug)]
pub enum ActivatedListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl fmt::Display for ActivatedListener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ActivatedListener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(formatter),
                Err(_) => formatter.write_str("a TCP socket"),
            },
            ActivatedListener::Unix(listener) => {
                let address = listener.local_addr().ok();
                match address.as_ref().and_then(|address| address.as_pathname()) {
                    Some(path) => write!(formatter, "unix:{}", path.display()),
                    None => formatter.write_str("a unix socket without a path"),
                }
            }
        }
    }
}

/// Why sockets that were handed over cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    #[error("LISTEN_FDS is {value:?}, expected a number of sockets up to {MAX_SOCKETS}")]
    Count { value: String },
    #[error(
        "socket {place} of the service manager is neither a TCP nor a unix stream listener: \
             {reason}"
    )]
    Kind { place: usize, reason: std::io::Error },
    #[error("socket {place} of the service manager cannot be set up: {reason}")]
    Setup { place: usize, reason: std::io::Error },
}

/// The listeners that were handed to this process; none where it was started in another way.
/// Called once, before there is a second thread: it takes the variables out of the environment,
/// so that child processes do not take the sockets for theirs.
///
/// # Errors
/// A socket was handed over that cannot be listened on.
pub fn from_environment() -> Result<Vec<ActivatedListener>, ActivationError> {
    let Some(count) = env::var_os("LISTEN_FDS") else { return Ok(Vec::new()) };
    let for_us = env::var("LISTEN_PID").is_ok_and(|pid| is_own(&pid, std::process::id()));
    if !for_us {
        // Left over from a parent that was activated, and without meaning here.
        return Ok(Vec::new());
    }
    let count = count.to_string_lossy().into_owned();
    let count = parse_count(&count).ok_or(ActivationError::Count { value: count })?;
    let mut handed = ListenFd::from_env();
    (0..count).map(|place| take(&mut handed, place)).collect()
}

fn parse_count(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| *count <= MAX_SOCKETS)
}

/// `LISTEN_PID` names who the sockets are for.
fn is_own(listen_pid: &str, own: u32) -> bool {
    listen_pid.parse() == Ok(own)
}

fn take(handed: &mut ListenFd, place: usize) -> Result<ActivatedListener, ActivationError> {
    let setup = |reason| ActivationError::Setup { place, reason };
    let missing = || std::io::Error::other("it was not handed over");
    // A socket of the other kind is left in its place, to be tried again as that kind.
    if let Ok(listener) = handed.take_tcp_listener(place) {
        let listener = listener.ok_or_else(missing).map_err(setup)?;
        listener.set_nonblocking(true).map_err(setup)?;
        return Ok(ActivatedListener::Tcp(listener));
    }
    let listener = handed
        .take_unix_listener(place)
        .map_err(|reason| ActivationError::Kind { place, reason })?
        .ok_or_else(missing)
        .map_err(setup)?;
    listener.set_nonblocking(true).map_err(setup)?;
    Ok(ActivatedListener::Unix(listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_another_process_are_left_alone() {
        assert!(is_own("12", 12));
        assert!(!is_own("12", 13));
        assert!(!is_own("", 12) && !is_own("twelve", 12));
    }

    #[test]
    fn a_count_is_a_number_within_reason() {
        assert_eq!(parse_count("2"), Some(2));
        for wrong in ["", "-1", "two", "4294967295"] {
            assert_eq!(parse_count(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_process_that_was_not_activated_has_no_sockets() {
        assert!(from_environment().expect("nothing is set").is_empty());
    }
}
