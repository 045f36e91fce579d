//! What is told of an object.

/// What becomes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Verdict {
    /// Type of the condition.
    pub(in super::super) condition: &'static str,
    pub(in super::super) status: Status,
    /// In CamelCase.
    pub(in super::super) reason: &'static str,
    pub(in super::super) message: String,
    /// An administrator must see it.
    pub(in super::super) warning: bool,
    /// Told also where nothing was told before.
    pub(in super::super) always: bool,
    /// Nodes that may not have followed, and what is said of them.
    pub(in super::super) behind: Vec<String>,
    pub(in super::super) behind_message: String,
}

impl Verdict {
    /// The reason that users see.
    pub(in super::super) fn told_reason(&self) -> &'static str {
        if self.status == Status::True && !self.behind.is_empty() {
            "NodesBehind"
        } else {
            self.reason
        }
    }

    /// The message that users see.
    pub(in super::super) fn told_message(&self) -> String {
        if self.behind.is_empty() {
            self.message.clone()
        } else {
            format!("{}; {}", self.message, self.behind_message)
        }
    }
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Status {
    True,
    False,
    Unknown,
}

impl Status {
    pub(in super::super) const fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}
