//! A resolver, and all that it told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use weft_agent::dns::{Event, Resolver, Settings, spawn};
use weft_core::model::DnsName;
use weft_core::names::{NameState, Resolution};

/// How long a test waits for what must come. Other tests may keep the machine busy.
const DEADLINE: Duration = Duration::from_secs(20);

pub struct Rig {
    pub resolver: Resolver,
    events: Arc<Mutex<Vec<(Instant, Event)>>>,
}

pub fn name(text: &str) -> DnsName {
    text.parse().unwrap()
}

pub fn ips(texts: &[&str]) -> BTreeSet<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Asks these servers, with a timeout that suits a test.
pub fn settings(servers: &[SocketAddr]) -> Settings {
    Settings {
        servers: Some(servers.to_vec()),
        timeout: Duration::from_secs(1),
        ..Settings::default()
    }
}

impl Rig {
    pub fn start(settings: Settings) -> Self {
        let events: Arc<Mutex<Vec<_>>> = Arc::default();
        let to = Arc::clone(&events);
        let resolver = spawn(settings, move |event| {
            to.lock().unwrap().push((Instant::now(), event));
        });
        Self {
            resolver: resolver.unwrap(),
            events,
        }
    }

    pub fn watch(&self, names: &[&str]) {
        self.resolver
            .watch(names.iter().map(|text| name(text)).collect());
    }

    pub fn events(&self) -> Vec<(Instant, Event)> {
        self.events.lock().unwrap().clone()
    }

    pub fn resolution(&self, text: &str) -> Resolution {
        self.resolver.snapshot()[&name(text)].clone()
    }

    pub fn addresses(&self, text: &str) -> BTreeSet<IpAddr> {
        self.resolution(text).addresses.into_keys().collect()
    }

    /// When each name first had addresses.
    pub fn answered(&self) -> BTreeMap<String, Instant> {
        let mut answered = BTreeMap::new();
        for (at, event) in self.events() {
            if let Event::Changed(name, resolution) = event
                && !resolution.addresses.is_empty()
            {
                answered.entry(name.to_string()).or_insert(at);
            }
        }
        answered
    }

    #[track_caller]
    pub fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let done = weft_wait::poll(DEADLINE, || done(self).then_some(()));
        assert!(
            done.is_some(),
            "{what}: {:?}\n{:?}",
            self.resolver.snapshot(),
            self.resolver.problems(),
        );
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str, addresses: &[&str]) {
        let what = format!("{text} has {addresses:?}");
        self.wait(&what, |rig| rig.addresses(text) == ips(addresses));
    }

    /// Waits for a failure of the name, and tells it.
    #[track_caller]
    pub fn wait_for_error(&self, text: &str) -> String {
        let error = |rig: &Self| match rig.resolution(text).state {
            NameState::Unresolved { error, .. } => error.map(|error| error.to_string()),
            NameState::Stale { error, .. } => Some(error.to_string()),
            NameState::Resolved { missing, .. } => missing.map(|failure| failure.to_string()),
        };
        self.wait("a failure", |rig| error(rig).is_some());
        error(self).unwrap()
    }

    #[track_caller]
    pub fn ttl(&self, text: &str) -> Duration {
        match self.resolution(text).state {
            NameState::Resolved { ttl, .. } => ttl,
            state => panic!("{text}: {state:?}"),
        }
    }
}
