//! What the controller tells over TCP.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::figures::serve::Telling;
use crate::figures::{Durations, Family, Labels, written};

/// Filled by the controller's loop, read by whoever asks.
#[derive(Debug, Default)]
pub struct Figures {
    passes: Durations,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    active: bool,
    /// Of the last pass; none while active without having made one.
    problems: Option<usize>,
}

impl Figures {
    pub(super) fn active(&self) {
        *self.state() = State {
            active: true,
            problems: None,
        };
    }

    pub(super) fn standby(&self) {
        *self.state() = State::default();
    }

    pub(super) fn passed(&self, took: Duration, problems: usize) {
        self.passes.record(took);
        self.state().problems = Some(problems);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn families(&self) -> Vec<Family> {
        let State { active, problems } = *self.state();
        let passes = self.passes.read();
        vec![
            Family::version("weft_controller_info"),
            Family::gauge(
                "weft_controller_active",
                "1 in the controller that works, 0 in a standby",
            )
            .one(active.into()),
            Family::counter("weft_controller_passes", "Looks at all objects").one(passes.count()),
            Family::histogram(
                "weft_controller_pass_duration_seconds",
                "What looks at all objects took, with the writes that followed",
                vec![(Labels::new(), passes)],
            ),
            Family::gauge(
                "weft_controller_problems",
                "What the last look found wrong, or could not write",
            )
            .one(problems.unwrap_or_default() as u64),
        ]
    }
}

impl Telling for Figures {
    fn metrics(&self) -> Result<String, String> {
        Ok(written(self.families()))
    }

    /// A watch that ends by itself ends the process.
    fn alive(&self) -> Result<(), String> {
        Ok(())
    }

    /// A standby is: it waits, which is its work.
    fn ready(&self) -> Result<(), String> {
        let State { active, problems } = *self.state();
        if active && problems.is_none() {
            return Err("the objects have not been read yet".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_comes_with_the_first_look_of_the_active_one() {
        let figures = Figures::default();
        assert!(figures.ready().is_ok(), "a standby");
        figures.active();
        assert!(figures.ready().unwrap_err().contains("have not been read"));
        figures.passed(Duration::from_millis(1), 2);
        assert!(figures.ready().is_ok());
        let text = figures.metrics().unwrap();
        for line in [
            "weft_controller_active 1",
            "weft_controller_passes_total 1",
            "weft_controller_problems 2",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in:\n{text}");
        }
        figures.standby();
        assert!(
            figures
                .metrics()
                .unwrap()
                .contains("weft_controller_active 0")
        );
    }
}
