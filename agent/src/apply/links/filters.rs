//! Filters of the clsact qdisc.

use std::os::fd::{AsFd as _, BorrowedFd};

use aya::Ebpf;
use aya::programs::TcAttachType;
use nix::errno::Errno;

use super::{AttachError, program};
use crate::bpf::hooks::{Hook, carries, goes_with_ours, side};
use crate::netlink::filter::{Hook as Side, add_clsact, put_bpf_filter, remove_bpf_filter};
use crate::netlink::hooks::Filter;
use crate::netlink::{Netlink, NetlinkError};

/// Where our filter stands unless somebody else's is there.
const FIRST: Place = Place {
    priority: 1,
    handle: 1,
};

/// Preference and handle of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    priority: u16,
    handle: u32,
}

impl Place {
    const fn of(filter: &Filter) -> Self {
        Self {
            priority: filter.priority,
            handle: filter.handle,
        }
    }

    /// The first place on a hook that can be had for a program: its own, if it has that preference already.
    fn choose(there: &[Filter], name: &str) -> Self {
        let there = || there.iter().filter(|it| it.chain == 0);
        let barred = |priority| there().any(|it| it.priority == priority && !goes_with_ours(it));
        let priority = (FIRST.priority..u16::MAX).find(|it| !barred(*it));
        let priority = priority.unwrap_or(u16::MAX);
        let here = || there().filter(|it| it.priority == priority);
        let own = here().find(|it| carries(it, name)).map(|it| it.handle);
        let free =
            || (FIRST.handle..=u32::MAX).find(|handle| here().all(|it| it.handle != *handle));
        Self {
            priority,
            handle: own.or_else(free).unwrap_or(FIRST.handle),
        }
    }
}

/// Whether a hook of the device has this program. An error of the query is no proof that it has.
pub(super) fn has(interface: &str, direction: TcAttachType, name: &str) -> bool {
    let Some(hook) = side(direction) else {
        return false;
    };
    let Ok(index) = nix::net::if_::if_nametoindex(interface) else {
        return false;
    };
    match Netlink::open().and_then(|mut netlink| netlink.filters(index, hook)) {
        Ok(filters) => filters.iter().any(|it| carries(it, name)),
        Err(error) => {
            tracing::warn!(interface, %error, "cannot tell which programs are attached");
            false
        }
    }
}

/// A program to be put on a hook.
struct Put<'a> {
    name: &'static str,
    hook: Side,
    program: BorrowedFd<'a>,
}

/// See [`super::attach`]. On a fresh device everything at once.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    interface: &str,
    hooks: &[Hook],
    fresh: bool,
) -> Result<(), AttachError> {
    let index = nix::net::if_::if_nametoindex(interface).map_err(|source| AttachError::Gone {
        interface: interface.to_owned(),
        source,
    })?;
    for (name, _) in hooks {
        program(ebpf, name)?;
    }
    let ebpf = &*ebpf;
    let puts = hooks.iter().filter_map(|(name, direction)| {
        let hook = side(*direction)?;
        let program: &aya::programs::SchedClassifier = ebpf.program(name)?.try_into().ok()?;
        Some(program.fd().map(|fd| Put {
            name,
            hook,
            program: fd.as_fd(),
        }))
    });
    let puts: Result<Vec<_>, _> = puts.collect();
    let puts = puts.map_err(|source| AttachError::Attach {
        program: hooks.first().map_or("", |(name, _)| name),
        interface: interface.to_owned(),
        source,
    })?;
    let failed = |source| AttachError::Filters {
        interface: interface.to_owned(),
        source,
    };
    let mut netlink = Netlink::open().map_err(failed)?;
    if fresh {
        // Ingress first, which is the last of the hooks: a qdisc with that hook alone would take the other's filter in there,
        // and refuses a second one in the same place.
        let filters = puts.iter().rev();
        let filters = filters.map(|it| it.request(index, FIRST).exclusively());
        let requests = std::iter::once(add_clsact(index)).chain(filters);
        match netlink.send_all(requests.collect()) {
            Ok(_) => return Ok(()),
            Err(error) => tracing::debug!(interface, %error, "something is there already"),
        }
    }
    settle(&mut netlink, interface, index, &puts)
}

/// Puts programs where there may be others: an older version's, or somebody else's. An error leaves what could be done.
fn settle(
    netlink: &mut Netlink,
    interface: &str,
    index: u32,
    puts: &[Put<'_>],
) -> Result<(), AttachError> {
    let failed = |source: NetlinkError| AttachError::Filters {
        interface: interface.to_owned(),
        source,
    };
    let mut result = Ok(());
    let mut one_hook = false;
    if let Err(error) = netlink.send(add_clsact(index)) {
        let found = netlink.hook_qdisc(index).map_err(failed)?;
        let Some(qdisc) = found.filter(|_| error.errno() == Some(Errno::EINVAL)) else {
            return Err(failed(error));
        };
        // It has the ingress hook alone, and takes a filter of the other for one of that.
        one_hook = true;
        result = Err(AttachError::Qdisc {
            interface: interface.to_owned(),
            kind: qdisc.kind,
        });
    }
    for put in puts
        .iter()
        .filter(|it| !one_hook || it.hook == Side::Ingress)
    {
        let done = put.take_place(netlink, index).map_err(|error| {
            let qdisc = netlink.hook_qdisc(index).ok().flatten();
            match qdisc.and_then(|it| it.block(put.hook)) {
                Some(block) => AttachError::Shared {
                    program: put.name,
                    interface: interface.to_owned(),
                    block,
                },
                None => failed(error),
            }
        });
        result = result.and(done);
    }
    result
}

impl Put<'_> {
    fn request(&self, index: u32, place: Place) -> crate::netlink::request::Request {
        let Place { priority, handle } = place;
        put_bpf_filter(index, self.hook, priority, handle, self.name, self.program)
    }

    /// The new filter first, then the old ones go: the hook is never without the program.
    fn take_place(&self, netlink: &mut Netlink, index: u32) -> Result<(), NetlinkError> {
        let there = netlink.filters(index, self.hook)?;
        let place = Place::choose(&there, self.name);
        netlink.send(self.request(index, place))?;
        let old = there.iter().filter(|it| carries(it, self.name));
        for filter in old.filter(|it| Place::of(it) != place) {
            let Place { priority, handle } = Place::of(filter);
            netlink.send(remove_bpf_filter(index, self.hook, priority, handle))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::filter::{ALL_PROTOCOLS, BPF};

    fn filter(kind: &str, priority: u16, handle: u32, name: &str) -> Filter {
        Filter {
            kind: kind.into(),
            chain: 0,
            priority,
            protocol: ALL_PROTOCOLS,
            handle,
            name: (kind == BPF).then(|| name.to_owned()),
            program: Some(7),
        }
    }

    fn chosen(there: &[Filter]) -> (u16, u32) {
        let place = Place::choose(there, "from_pod");
        (place.priority, place.handle)
    }

    #[test]
    fn the_first_place_that_the_kernel_gives_is_taken() {
        assert_eq!(chosen(&[]), (1, 1));
        let own = filter(BPF, 1, 3, "from_pod");
        assert_eq!(chosen(std::slice::from_ref(&own)), (1, 3), "in place");
        let former = filter(BPF, 119, 1, "from_pod");
        assert_eq!(chosen(&[former]), (1, 1), "an older version's");
        let other = filter(BPF, 1, 1, "observer");
        assert_eq!(chosen(&[other]), (1, 2), "nobody's is replaced");
        let kinds = [filter("u32", 1, 1, ""), filter("flower", 2, 1, "")];
        assert_eq!(chosen(&kinds), (3, 1), "other kinds bar a preference");
        let ip = Filter {
            protocol: 0x800,
            ..filter(BPF, 1, 1, "from_pod")
        };
        assert_eq!(chosen(&[ip]), (2, 1), "so do other protocols");
        let elsewhere = Filter {
            chain: 5,
            ..filter("u32", 1, 1, "")
        };
        assert_eq!(chosen(&[elsewhere]), (1, 1), "chains count for themselves");
    }
}
