//! How much stack the programs take, read from the object itself as a kernel's verifier reads it.
//!
//! A chain of calls has 512 bytes (`MAX_BPF_STACK`). Before Linux 6.9, and on any kernel without JIT, each function on the
//! chain counts for a multiple of 32 bytes, at least 32; since then for one of 16 (`round_up_stack_depth`). A callback of
//! `bpf_loop` is on the chain of its caller.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use aya_obj::generated::bpf_insn;
use aya_obj::{Function, Object};
use weft_agent::apply::object::AFTER_DNAT;
use weft_agent::bpf::hooks::PROGRAMS;

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("WEFT_TC_OBJECT"));

/// What a chain may take. The rest of the 512 is room for what other compilers make of the same source.
const MOST: u32 = 384;
/// Functions on a chain (`MAX_CALL_FRAMES`).
const FRAMES: usize = 8;

/// Instruction classes and codes (linux/bpf_common.h, linux/bpf.h).
const CLASS: u8 = 0x07;
const LDX: u8 = 0x01;
const ST: u8 = 0x02;
const STX: u8 = 0x03;
const CALL: u8 = 0x85;
const LOAD_IMMEDIATE: u8 = 0x18;
const MOVE: u8 = 0xbf;
const ADD_IMMEDIATE: u8 = 0x07;
/// `BPF_PSEUDO_CALL`, `BPF_PSEUDO_FUNC`
const OWN_FUNCTION: u8 = 1;
const CALLBACK: u8 = 4;
const FRAME_POINTER: u8 = 10;

#[test]
fn every_chain_of_calls_fits_the_stack_of_old_kernels() {
    let mut object = Object::parse(OBJECT).unwrap();
    let names: BTreeMap<Vec<(u8, i16)>, String> = (object.functions.values())
        .map(|it| (shape(&it.instructions), it.name.clone()))
        .collect();
    let sections: HashSet<usize> = object
        .functions
        .keys()
        .map(|(section, _)| *section)
        .collect();
    object.relocate_calls(&sections).unwrap();
    for name in PROGRAMS.into_iter().chain([AFTER_DNAT]) {
        let program = &object.programs[name];
        let frames = frames(&object.functions[&program.function_key()]);
        let chain = deepest(&frames, 0);
        let bytes: u32 = chain.iter().map(|at| frames[at].counted()).sum();
        let text: Vec<_> = chain
            .iter()
            .map(|at| {
                let own = names.get(&frames[at].shape).map_or("?", String::as_str);
                let own = if *at == 0 { name } else { own };
                format!("{:4} {own}", frames[at].depth)
            })
            .collect();
        println!("{name}: {bytes} bytes\n{}", text.join("\n"));
        assert!(
            bytes <= MOST && chain.len() <= FRAMES,
            "{name} takes {bytes} bytes of stack in {} frames:\n{}",
            chain.len(),
            text.join("\n")
        );
        assert!(bytes >= 64, "{name}: {bytes} bytes, too few to be true");
    }
}

struct Frame {
    /// Deepest byte that is read or written below the frame pointer, or whose address is taken.
    depth: u32,
    calls: BTreeSet<usize>,
    shape: Vec<(u8, i16)>,
}

impl Frame {
    fn counted(&self) -> u32 {
        self.depth.max(1).next_multiple_of(32)
    }
}

fn shape(code: &[bpf_insn]) -> Vec<(u8, i16)> {
    code.iter().map(|it| (it.code, it.off)).collect()
}

/// The functions of a linked program by their first instruction.
fn frames(program: &Function) -> BTreeMap<usize, Frame> {
    let code = &program.instructions;
    let target = |at: usize| {
        let own = code[at].code == CALL && code[at].src_reg() == OWN_FUNCTION
            || code[at].code == LOAD_IMMEDIATE && code[at].src_reg() == CALLBACK;
        own.then(|| at.checked_add_signed(code[at].imm as isize + 1).unwrap())
    };
    let mut starts: BTreeSet<usize> = (0..code.len()).filter_map(target).collect();
    starts.insert(0);
    let ends = starts.iter().skip(1).copied().chain([code.len()]);
    let functions = starts.iter().copied().zip(ends);
    functions
        .map(|(from, to)| {
            let frame = Frame {
                depth: depth(&code[from..to]),
                calls: (from..to).filter_map(target).collect(),
                shape: shape(&code[from..to]),
            };
            (from, frame)
        })
        .collect()
}

fn depth(code: &[bpf_insn]) -> u32 {
    let mut lowest = 0_i32;
    // Registers that hold the frame pointer, until something is added.
    let mut copies = [false; 11];
    for it in code {
        let (dst, src) = (it.dst_reg(), it.src_reg());
        let base = match it.code & CLASS {
            LDX => src,
            ST | STX => dst,
            _ => 0,
        };
        if base == FRAME_POINTER {
            lowest = lowest.min(it.off.into());
        }
        if it.code == ADD_IMMEDIATE && copies[usize::from(dst)] {
            lowest = lowest.min(it.imm);
        }
        if !matches!(it.code & CLASS, ST | STX) {
            copies[usize::from(dst)] = it.code == MOVE && src == FRAME_POINTER;
        }
    }
    lowest.unsigned_abs()
}

/// The chain of calls from a function that takes most.
fn deepest(frames: &BTreeMap<usize, Frame>, from: usize) -> Vec<usize> {
    let called = frames[&from].calls.iter().map(|to| deepest(frames, *to));
    let below = called.max_by_key(|chain| {
        let bytes = chain.iter().map(|at| frames[at].counted());
        (bytes.sum::<u32>(), chain.len())
    });
    std::iter::once(from)
        .chain(below.unwrap_or_default())
        .collect()
}
