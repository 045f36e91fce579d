//! Waiting for programs where the kernel refuses `membarrier`, as those booted with `nohz_full` do.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{self, c_long, c_ulong, c_ushort, sock_filter, sock_fprog};
use weft_agent::apply::wait_for_programs;

/// Runs on a thread whose system calls of these numbers fail so.
fn refused<T: Send>(calls: &[(c_long, Errno)], run: impl FnOnce() -> T + Send) -> T {
    let on_thread = || {
        refuse(calls).unwrap();
        run()
    };
    thread::scope(|scope| scope.spawn(on_thread).join().unwrap())
}

#[expect(unsafe_code, reason = "nix has no seccomp")]
fn refuse(calls: &[(c_long, Errno)]) -> io::Result<()> {
    let op = |code: u32, k: u32, jf: u8| sock_filter {
        code: c_ushort::try_from(code).unwrap(),
        jt: 0,
        jf,
        k,
    };
    // The number of the call is the first field of `struct seccomp_data`.
    let mut filter = vec![op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (call, errno) in calls {
        let number = u32::try_from(*call).unwrap();
        let refusal = libc::SECCOMP_RET_ERRNO | u32::try_from(*errno as i32).unwrap();
        filter.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, 1));
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

#[test]
fn a_packet_socket_waits_where_membarrier_is_refused() {
    let membarrier = (libc::SYS_membarrier, Errno::EINVAL);
    // Without packet sockets there is no other way: so it is they that are used.
    let socket = (libc::SYS_socket, Errno::EPERM);
    let result = refused(&[membarrier, socket], wait_for_programs);
    assert_eq!(
        result.map_err(|error| error.raw_os_error()),
        Err(Some(libc::EPERM))
    );
    let mut times = refused(&[membarrier], || {
        [(); 9].map(|()| {
            let start = Instant::now();
            wait_for_programs().unwrap();
            start.elapsed()
        })
    });
    times.sort_unstable();
    // A grace period takes milliseconds, an ordinary socket microseconds.
    assert!(times[4] >= Duration::from_micros(300), "{times:?}");
}

#[test]
fn another_refusal_of_membarrier_is_an_error() {
    let result = refused(&[(libc::SYS_membarrier, Errno::EPERM)], wait_for_programs);
    assert_eq!(
        result.map_err(|error| error.raw_os_error()),
        Err(Some(libc::EPERM))
    );
}
