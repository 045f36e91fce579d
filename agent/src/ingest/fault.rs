//! What can be wrong with an object.

/// How an object is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It says what cannot be.
    Invalid,
    /// It contradicts another one.
    Conflict,
    /// A part of it is left out, the rest counts.
    Partly,
}

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// How.
    pub fault: Fault,
    /// What it is, what holds meanwhile and what to do.
    pub message: String,
}

impl Fault {
    pub(super) const fn with(self, message: String) -> Wrong {
        Wrong {
            fault: self,
            message,
        }
    }
}
