//! eBPF programs of a few instructions, as somebody else would attach them: aya loads programs from object files only.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// One instruction, as the kernel has it (`struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    constant: i32,
}

impl Instruction {
    /// `exit`
    pub const EXIT: Self = Self::new(0x95, 0, 0);

    const fn new(code: u8, registers: u8, constant: i32) -> Self {
        Self {
            code,
            registers,
            offset: 0,
            constant,
        }
    }

    /// `rN = constant` (64 bits)
    pub const fn set(register: u8, constant: i32) -> Self {
        Self::new(0xb7, register, constant)
    }

    /// `call helper`
    pub const fn call(helper: i32) -> Self {
        Self::new(0x85, 0, helper)
    }
}

/// What a program is for (`enum bpf_prog_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A program of the traffic control hooks.
    SchedCls = 3,
    /// A program that sees packets before the stack does.
    Xdp = 6,
}

/// Where a link attaches its program (`enum bpf_attach_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Place {
    /// XDP of a device.
    Xdp = 37,
    /// TCX, what a device receives.
    TcxIngress = 46,
    /// TCX, what is sent out of a device.
    TcxEgress = 47,
}

/// `BPF_F_BEFORE`: in front of the programs that are there.
pub const BEFORE: u32 = 1 << 3;
/// `XDP_FLAGS_SKB_MODE`: the XDP of devices whose driver has none.
pub const GENERIC: u32 = 1 << 1;

/// The first fields of `union bpf_attr` for `BPF_PROG_LOAD`; those after them count as zero.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    program: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The same for `BPF_LINK_CREATE`.
#[repr(C)]
struct Link {
    program: u32,
    device: u32,
    place: u32,
    flags: u32,
}

const BPF_PROG_LOAD: i32 = 5;
const BPF_LINK_CREATE: i32 = 28;

/// Loads a program. `name` has at most 15 bytes.
pub fn load(kind: Kind, name: &str, program: &[Instruction]) -> io::Result<OwnedFd> {
    let mut load = Load {
        kind: kind as u32,
        instructions: u32::try_from(program.len()).map_err(io::Error::other)?,
        program: program.as_ptr().addr() as u64,
        licence: c"GPL".as_ptr().addr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: [0; 16],
    };
    for (to, from) in load.name[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    call(BPF_PROG_LOAD, &load)
}

/// Attaches a program; it is detached when the result is dropped.
pub fn link(program: &OwnedFd, device: u32, place: Place, flags: u32) -> io::Result<OwnedFd> {
    let link = Link {
        program: program.as_raw_fd().cast_unsigned(),
        device,
        place: place as u32,
        flags,
    };
    call(BPF_LINK_CREATE, &link)
}

/// Both with a program that returns a constant and nothing else.
pub fn stand_in_front(
    name: &str,
    answer: i32,
    device: u32,
    place: Place,
    flags: u32,
) -> io::Result<OwnedFd> {
    let kind = match place {
        Place::Xdp => Kind::Xdp,
        Place::TcxIngress | Place::TcxEgress => Kind::SchedCls,
    };
    let program = load(
        kind,
        name,
        &[Instruction::set(0, answer), Instruction::EXIT],
    )?;
    link(&program, device, place, flags)
}

/// The system call, for commands that answer with a descriptor.
fn call<T>(command: i32, attributes: &T) -> io::Result<OwnedFd> {
    #[expect(unsafe_code, reason = "see the module's comment")]
    // SAFETY: the kernel reads `attributes` up to the length given, and what its addresses point at, during the call.
    let answer = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    let descriptor = i32::try_from(answer).map_err(io::Error::other)?;
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    #[expect(unsafe_code, reason = "descriptors come as numbers from system calls")]
    // SAFETY: the kernel has just made it, and nobody else knows it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    Ok(descriptor)
}
