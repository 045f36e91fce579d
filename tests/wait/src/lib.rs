//! How tests and the lab wait for what happens by itself: they ask again and again, at most for so long. What has a file
//! descriptor or a channel is better waited for there.

pub mod patience;

use std::thread;
use std::time::{Duration, Instant};

use patience::patient;

/// How long anything may take that is to happen soon, also on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks until there is an answer, at most for `deadline` as it is on this machine ([`patient`]).
pub fn poll<T>(deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patient(deadline);
    loop {
        // Before the question: one that was asked in time counts, however long it took.
        let late = Instant::now() >= end;
        match ask() {
            None if !late => thread::sleep(PAUSE),
            answer => return answer,
        }
    }
}

/// Waits for an answer.
///
/// # Panics
/// If there is none within `deadline`.
#[track_caller]
pub fn answer<T>(what: &str, deadline: Duration, ask: impl FnMut() -> Option<T>) -> T {
    let Some(answer) = poll(deadline, ask) else {
        panic!("not within {:?}: {what}", patient(deadline));
    };
    answer
}

/// Waits for a condition; returns how long it took.
///
/// # Panics
/// If it does not hold [`SOON`].
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    answer(what, SOON, || holds().then_some(()));
    start.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_until_there_is_an_answer_and_once_more_at_the_end() {
        let mut asked = 0;
        let answer = poll(SOON, || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(answer, Some(3));
        let mut asked = 0;
        let none: Option<()> = poll(Duration::ZERO, || {
            asked += 1;
            None
        });
        assert_eq!((none, asked), (None, 1));
    }
}
