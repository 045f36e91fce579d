//! Waiting for programs where the kernel refuses `membarrier`, as those booted with `nohz_full` do.

use std::io;
use std::thread;

use nix::errno::Errno;
use nix::libc::{self, c_long, c_ulong, c_ushort, sock_filter, sock_fprog};
use weft_agent::apply::wait_for_programs;

/// Calls that fail: their number, their first argument if only that one fails, and how.
type Refusal = (c_long, Option<u32>, Errno);

const MEMBARRIER: Refusal = (libc::SYS_membarrier, None, Errno::EINVAL);

/// Runs on a thread whose system calls fail so.
fn refused<T: Send>(refusals: &[Refusal], run: impl FnOnce() -> T + Send) -> T {
    let on_thread = || {
        refuse(refusals).unwrap();
        run()
    };
    thread::scope(|scope| scope.spawn(on_thread).join().unwrap())
}

#[expect(unsafe_code, reason = "nix has no seccomp")]
fn refuse(refusals: &[Refusal]) -> io::Result<()> {
    /// Where `struct seccomp_data` has the call's number, and the low half of its first argument.
    const NUMBER: u32 = 0;
    const ARGUMENT: u32 = if cfg!(target_endian = "little") {
        16
    } else {
        20
    };
    let op = |code: u32, k: u32, jf: u8| sock_filter {
        code: c_ushort::try_from(code).unwrap(),
        jt: 0,
        jf,
        k,
    };
    let load = |at| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0);
    let unless = |value, skip| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, skip);
    let mut filter = Vec::new();
    for (call, argument, errno) in refusals {
        let number = u32::try_from(*call).unwrap();
        let refusal = libc::SECCOMP_RET_ERRNO | u32::try_from(*errno as i32).unwrap();
        filter.push(load(NUMBER));
        filter.push(unless(number, if argument.is_some() { 3 } else { 1 }));
        if let Some(argument) = argument {
            filter.extend([load(ARGUMENT), unless(*argument, 1)]);
        }
        filter.push(op(libc::BPF_RET | libc::BPF_K, refusal, 0));
    }
    filter.push(op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0));
    let program = sock_fprog {
        len: c_ushort::try_from(filter.len()).unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the filter, which lives until the calls are over; both concern this thread only.
    let results = unsafe {
        [
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(
                libc::PR_SET_SECCOMP,
                c_ulong::from(libc::SECCOMP_MODE_FILTER),
                &raw const program as c_ulong,
            ),
        ]
    };
    match results {
        [0, 0] => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// That closing such a socket waits for a grace period is the kernel's word (`packet_release`): how long that takes proves
/// nothing, since one may be about to end.
#[test]
fn a_packet_socket_waits_where_membarrier_is_refused() {
    refused(&[MEMBARRIER], wait_for_programs).unwrap();
    let packet = u32::try_from(libc::AF_PACKET).unwrap();
    let sockets = (libc::SYS_socket, Some(packet), Errno::EPERM);
    // Without them there is no other way: so it is they that are used, and not where they need not be.
    let result = refused(&[MEMBARRIER, sockets], wait_for_programs);
    assert_eq!(
        result.map_err(|error| error.raw_os_error()),
        Err(Some(libc::EPERM))
    );
    refused(&[sockets], wait_for_programs).unwrap();
}

#[test]
fn another_refusal_of_membarrier_is_an_error() {
    let refusal = (libc::SYS_membarrier, None, Errno::EPERM);
    let result = refused(&[refusal], wait_for_programs);
    assert_eq!(
        result.map_err(|error| error.raw_os_error()),
        Err(Some(libc::EPERM))
    );
}
