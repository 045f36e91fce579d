//! How far behind its objects an agent may be.

use std::time::Duration;

/// How far behind the API objects the agent may be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lag {
    /// How long nothing was heard from where they are.
    pub stale: Duration,
    /// How long some of them have not been followed; zero while all are.
    pub behind: Duration,
}

/// Objects that are not followed for so long are no matter of a moment, such as the restart of an API server.
const LASTING: Duration = Duration::from_mins(1);

impl Lag {
    /// An error if changes have not arrived for a while.
    pub fn follows(self) -> Result<(), String> {
        if self.behind < LASTING {
            return Ok(());
        }
        let seconds = Duration::from_secs(self.behind.as_secs());
        let since = humantime::format_duration(seconds);
        Err(format!(
            "changes of API objects have not arrived for {since}: weft status says why"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_that_are_not_followed_for_a_while_are_told_of() {
        let behind = |seconds| {
            let behind = Duration::from_secs(seconds);
            Lag {
                behind,
                ..Lag::default()
            }
        };
        assert_eq!(behind(0).follows(), Ok(()));
        assert_eq!(behind(59).follows(), Ok(()), "a server restarts");
        let error = behind(192).follows().unwrap_err();
        assert!(error.contains("for 3m 12s"), "{error}");
    }
}
