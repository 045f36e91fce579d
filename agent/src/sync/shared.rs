//! What other threads read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use weft_core::model::{DnsName, EgressState, Problem, Subject, World, sort_problems};

use super::foreign::{Standing, Standings};
use super::handle::pod_network;
use super::lag::Lag;
use super::pass::PassReport;
use crate::figures::{Durations, Reading};
use crate::observe::foreign::Foreign;

/// The outcome of the last full pass.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PassState {
    /// Full passes since the start.
    pub passes: u64,
    /// Writes of the last one.
    pub writes: usize,
    /// How long it took, microseconds.
    pub micros: u64,
    /// When it ended, seconds since 1970.
    pub ended: u64,
    /// What went wrong in it; empty if all is well.
    pub failures: Vec<String>,
    /// Attachments that it found without an interface.
    pub gone: Vec<Problem>,
}

/// Why a version of an object is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What does not fit, what holds meanwhile and what to do.
    pub message: String,
    /// It is too large by itself: every node refuses it.
    pub everywhere: bool,
}

/// The world and how well the kernel follows it. The loop writes, everybody reads.
pub struct Shared {
    world: RwLock<World>,
    /// Held by who looks whether to wait, so that no change comes between the look and the sleep. Taken before the world, never
    /// while it is locked.
    waiting: Mutex<()>,
    changed: Condvar,
    state: Mutex<State>,
    passes: Durations,
    /// How the data path is loaded: fixed for the process.
    pub loaded: super::kernel::Loaded,
    /// Asks where the API objects are.
    lag: OnceLock<Box<dyn Fn() -> Lag + Send + Sync>>,
}

#[derive(Default)]
struct State {
    pass: PassState,
    found: Vec<Problem>,
    object_problems: Vec<Problem>,
    node_problems: Vec<Problem>,
    firewall_problem: Option<String>,
    /// Why the firewall's rules do not ask the data path about what the host translates.
    unjudged: Option<Problem>,
    dns_problems: Vec<Problem>,
    /// Objects that do not fit the data path.
    refused: BTreeMap<Subject, Refusal>,
    /// The API server does not take what the node says.
    untold: Option<Problem>,
    /// What stands before our programs.
    standings: Standings,
    /// Names that the resolver was told to watch and has told nothing about yet.
    unheard: BTreeSet<DnsName>,
}

impl Shared {
    pub(super) fn new(world: World, loaded: super::kernel::Loaded, found: Vec<Problem>) -> Self {
        Self {
            world: RwLock::new(world),
            waiting: Mutex::new(()),
            changed: Condvar::new(),
            state: Mutex::new(State {
                found,
                ..State::default()
            }),
            passes: Durations::default(),
            loaded,
            lag: OnceLock::new(),
        }
    }

    /// Says whom to ask how old the objects may be; the first one counts.
    pub fn follow_store(&self, lag: impl Fn() -> Lag + Send + Sync + 'static) {
        if self.lag.set(Box::new(lag)).is_err() {
            tracing::debug!("a store is followed already");
        }
    }

    /// How far behind the API objects the agent may be; not at all while no store is followed.
    pub fn lag(&self) -> Lag {
        self.lag.get().map_or_else(Lag::default, |lag| lag())
    }

    /// The world, which does not change meanwhile: be quick. Others may read it at the same time.
    pub fn world(&self) -> RwLockReadGuard<'_, World> {
        // Nothing panics between two states of the world: it is changed by `take` alone.
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the world and wakes who waits for it.
    pub(super) fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.write().unwrap_or_else(PoisonError::into_inner));
        self.wake();
    }

    /// Wakes who waits, after a change.
    fn wake(&self) {
        drop(self.wait_turn());
        self.changed.notify_all();
    }

    fn wait_turn(&self) -> MutexGuard<'_, ()> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until something changes, at most so long.
    fn sleep<'a>(&'a self, turn: MutexGuard<'a, ()>, at_most: Duration) -> MutexGuard<'a, ()> {
        let slept = self.changed.wait_timeout(turn, at_most);
        slept.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until `ready` answers, at most until `deadline`; then its last refusal.
    pub fn wait<T, E>(
        &self,
        deadline: Instant,
        mut ready: impl FnMut(&World, &PassState) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut turn = self.wait_turn();
        loop {
            let answer = ready(&self.world(), &self.state().pass);
            let left = deadline.saturating_duration_since(Instant::now());
            if answer.is_ok() || left.is_zero() {
                return answer;
            }
            turn = self.sleep(turn, left);
        }
    }

    /// Waits until every name that the project's policy denies was answered, or failed, once, at most until `end`. Those that
    /// were not.
    pub(super) fn await_denied_names(&self, project: &str, end: Instant) -> Vec<DnsName> {
        let mut turn = self.wait_turn();
        loop {
            let unheard = match self.world().egress_state(project) {
                EgressState::InForce(policy) => {
                    let state = self.state();
                    let denied = policy.denied_names();
                    denied
                        .filter(|name| state.unheard.contains(*name))
                        .cloned()
                        .collect()
                }
                _ => Vec::new(),
            };
            let left = end.saturating_duration_since(Instant::now());
            if unheard.is_empty() || left.is_zero() {
                return unheard;
            }
            turn = self.sleep(turn, left);
        }
    }

    /// The watched names that nothing is known about yet.
    pub(super) fn unheard(&self, names: BTreeSet<DnsName>) {
        self.state().unheard = names;
        self.wake();
    }

    /// What the resolver told of a name is in force.
    pub(super) fn heard(&self, name: &DnsName) {
        let was_unheard = self.state().unheard.remove(name);
        if was_unheard {
            self.wake();
        }
    }

    /// Everything that is wrong, sorted.
    pub fn problems(&self) -> Vec<Problem> {
        let state = self.state();
        let mut all: Vec<_> = state
            .found
            .iter()
            .chain(&state.object_problems)
            .chain(&state.node_problems)
            .chain(&state.pass.gone)
            .chain(&state.dns_problems)
            .chain(&state.untold)
            .chain(&state.unjudged)
            .cloned()
            .collect();
        all.extend(
            state
                .pass
                .failures
                .iter()
                .chain(&state.firewall_problem)
                .map(|message| Problem::of_part("data path", message.as_str())),
        );
        all.extend(state.refused.iter().map(|(object, refusal)| Problem {
            object: object.clone(),
            message: refusal.message.clone(),
        }));
        all.extend(state.standings.values().flat_map(Standing::problems));
        sort_problems(&mut all);
        all.dedup();
        all
    }

    /// Objects that do not fit the data path, and why.
    pub fn refusals(&self) -> BTreeMap<Subject, Refusal> {
        self.state().refused.clone()
    }

    /// What full passes took.
    pub fn passes(&self) -> Reading {
        self.passes.read()
    }

    /// What stands before our programs.
    pub fn standings(&self) -> Standings {
        self.state().standings.clone()
    }

    /// What stands there now; the log hears of what is new or gone.
    pub(super) fn stand(&self, now: &Standings) {
        let before = std::mem::replace(&mut self.state().standings, now.clone());
        let missing = |all: &Standings, foreign: &Foreign| {
            let there = all.get(&foreign.interface);
            there.is_none_or(|it| !it.foreign.contains(foreign))
        };
        for foreign in now.values().flat_map(|it| &it.foreign) {
            if missing(&before, foreign) {
                tracing::error!(%foreign, "somebody else's comes before our programs");
            }
        }
        for foreign in before.values().flat_map(|it| &it.foreign) {
            if missing(now, foreign) {
                let Foreign {
                    interface, what, ..
                } = foreign;
                tracing::info!(interface, what, "it is gone from before our programs");
            }
        }
    }

    /// An error while pods cannot be attached, if the last full pass failed somewhere, or if something of somebody else stands
    /// before our programs. It names no pods: anybody may read it.
    pub fn ready(&self) -> Result<(), String> {
        let pass = self.pass();
        let network = pod_network(&self.world(), &pass, None);
        network.map_err(|error| error.to_string())?;
        let state = self.state();
        let foreign = state.standings.values().flat_map(|it| &it.foreign);
        let foreign = foreign.map(ToString::to_string);
        let reasons: Vec<_> = pass.failures.into_iter().chain(foreign).collect();
        match reasons.as_slice() {
            [] => Ok(()),
            reasons => Err(reasons.join("; ")),
        }
    }

    /// The last full pass.
    pub fn pass(&self) -> PassState {
        self.state().pass.clone()
    }

    pub(super) fn object_problems(&self, problems: Vec<Problem>) {
        for problem in &problems {
            tracing::warn!(object = %problem.object, problem = %problem.message, "object not in force");
        }
        self.state().object_problems = problems;
    }

    pub(super) fn node_problems(&self, problems: Vec<Problem>) {
        for problem in &problems {
            tracing::warn!(object = %problem.object, problem = %problem.message, "node");
        }
        self.state().node_problems = problems;
    }

    /// What keeps the firewall rules from being in place, if anything; whether something did before. Each try tells it again, the
    /// log hears of it once.
    pub(super) fn firewall_problem(&self, problem: Option<String>) -> bool {
        let mut state = self.state();
        if let Some(problem) = &problem
            && state.firewall_problem.as_ref() != Some(problem)
        {
            tracing::error!(%problem, "firewall rules");
        }
        std::mem::replace(&mut state.firewall_problem, problem).is_some()
    }

    /// What keeps the firewall's rules from asking the data path, if anything.
    pub(super) fn unjudged(&self, problem: Option<Problem>) {
        let old = std::mem::replace(&mut self.state().unjudged, problem.clone());
        if let Some(problem) = problem.filter(|new| old.as_ref() != Some(new)) {
            tracing::warn!(problem = %problem.message, "egress firewall");
        }
    }

    /// An object that does not fit, or one that does (again).
    pub(super) fn refused(&self, object: Subject, refusal: Option<Refusal>) {
        match refusal {
            Some(refusal) => {
                tracing::warn!(%object, message = %refusal.message, "refused");
                self.state().refused.insert(object, refusal);
            }
            None => drop(self.state().refused.remove(&object)),
        }
    }

    /// The API server does not take what the node says, or does so again.
    pub fn untold(&self, problem: Option<Problem>) {
        let old = std::mem::replace(&mut self.state().untold, problem.clone());
        if let Some(problem) = problem.filter(|new| old.as_ref() != Some(new)) {
            tracing::warn!(object = %problem.object, problem = %problem.message, "not told");
        }
    }

    pub(super) fn dns_problems(&self, problems: Vec<Problem>) {
        for problem in &problems {
            tracing::warn!(object = %problem.object, problem = %problem.message, "name servers");
        }
        self.state().dns_problems = problems;
    }

    pub(super) fn pass_failed(&self, failures: Vec<String>) {
        self.state().pass.failures = failures;
    }

    pub(super) fn pass_done(&self, took: Duration, report: PassReport) {
        let ended = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        self.passes.record(took);
        {
            let mut state = self.state();
            state.pass = PassState {
                passes: state.pass.passes + 1,
                writes: report.writes,
                micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                ended: ended.as_secs(),
                failures: report.failures,
                gone: report.gone,
            };
        }
        self.wake();
    }
}
