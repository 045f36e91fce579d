//! How many files the agent may have open: its resolver alone may need some six hundred sockets.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit as far as whoever started the agent allows. Soft limits are low for programs that use `select(2)`.
pub fn raise() {
    let resource = Resource::RLIMIT_NOFILE;
    let raised = getrlimit(resource).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(resource, hard, hard)?;
        }
        Ok((soft, hard))
    });
    match raised {
        Ok((soft, hard)) => tracing::debug!(soft, hard, "limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let resource = Resource::RLIMIT_NOFILE;
        let (_, hard) = getrlimit(resource).unwrap();
        // The other tests of the process need fewer for a moment.
        setrlimit(resource, hard - 1, hard).unwrap();
        raise();
        assert_eq!(getrlimit(resource).unwrap(), (hard, hard));
    }
}
