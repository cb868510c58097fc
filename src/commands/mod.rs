//! One file per subcommand; the only place where the parts meet.

pub mod runtime;
