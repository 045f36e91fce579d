//! How long a watch that failed waits before it tries again.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// The first wait.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// Half a second at first, ten at most, and up to as much again by chance, so that the agents of a large cluster do not come
/// back to a server all at once. Once the server has answered another watch, the first wait is enough: what was wrong with
/// the server is over, and all kinds together are as late as the luckiest of them.
pub(super) struct Patience {
    failures: u32,
    answers: watch::Receiver<()>,
}

impl Patience {
    /// `answers` changes with each good answer to a read.
    pub(super) fn new(answers: watch::Receiver<()>) -> Self {
        Self {
            failures: 0,
            answers,
        }
    }

    /// Something came.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits after a failure.
    pub(super) async fn wait(&mut self) {
        self.answers.mark_unchanged();
        let (always, without_answer) = self.next(rand::random());
        sleep(always).await;
        tokio::select! {
            () = sleep(without_answer) => {}
            // An error says that the connection, and this watch with it, is about to end.
            Ok(()) = self.answers.changed() => {}
        }
    }

    /// What is waited in any case, and then if no other watch is answered; `chance` is between 0 and 1.
    fn next(&mut self, chance: f64) -> (Duration, Duration) {
        let longer = LONGEST.min(FIRST * 2_u32.pow(self.failures.min(5)));
        self.failures += 1;
        let spread = 1.0 + chance;
        (
            FIRST.mul_f64(spread),
            longer.saturating_sub(FIRST).mul_f64(spread),
        )
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn waits_grow_until_something_comes() {
        let (_answers, answered) = watch::channel(());
        let mut patience = Patience::new(answered);
        for longer in [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            let (always, rest) = patience.next(0.0);
            assert_eq!(
                (always, always + rest),
                (FIRST, Duration::from_millis(longer))
            );
        }
        let (always, rest) = patience.next(1.0);
        assert_eq!((always, always + rest), (2 * FIRST, 2 * LONGEST));
        patience.reset();
        assert_eq!(patience.next(0.0), (FIRST, Duration::ZERO));
    }

    #[test]
    fn an_answer_to_another_ends_a_long_wait_but_not_the_first() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().unwrap();
        let (answers, answered) = watch::channel(());
        let mut patience = Patience::new(answered);
        patience.failures = 6;
        // From before the failure: says nothing.
        answers.send_replace(());
        runtime.block_on(async {
            let start = Instant::now();
            let mut wait = std::pin::pin!(patience.wait());
            let early = tokio::time::timeout(4 * FIRST, wait.as_mut()).await;
            assert!(early.is_err(), "nobody was answered since the failure");
            answers.send_replace(());
            wait.await;
            assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
        });
        patience.failures = 6;
        runtime.block_on(async {
            let start = Instant::now();
            let answer = async {
                tokio::task::yield_now().await;
                answers.send_replace(());
            };
            tokio::join!(patience.wait(), answer);
            assert!(start.elapsed() >= FIRST, "{:?}", start.elapsed());
            assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
        });
    }
}
