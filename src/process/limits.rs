//! Limits that the system sets for historical reasons and a daemon should not live with.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the limit of open files was and is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaisedLimit {
    /// `None`: no limit.
    pub from: Option<u64>,
    pub to: Option<u64>,
}

/// Raises the soft limit of open files to the hard one. The soft default of 1024 is for programs
/// that use `select`; each connection here takes a descriptor.
///
/// # Errors
/// The system refuses, and the limit stays.
pub fn raise_open_files() -> std::io::Result<RaisedLimit> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(RaisedLimit { from: current, to: maximum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_hard_one_afterwards() {
        let raised = raise_open_files().expect("raising to the hard limit is always allowed");
        let now = getrlimit(Resource::Nofile);
        assert_eq!((now.current, now.maximum), (raised.to, raised.to));
        assert_eq!(raise_open_files().expect("again").from, raised.to);
    }
}
