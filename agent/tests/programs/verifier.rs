//! What the verifier has to look at before it lets a program run: what every start of an agent waits for.
//!
//! The kernel counts it since Linux 5.16 (`verified_insns` of `struct bpf_prog_info`); its own limit is a million.

use weft_agent::apply::object::{AFTER_DNAT, load};
use weft_agent::apply::pins::Pins;
use weft_agent::bpf::hooks::PROGRAMS;

use crate::rig::{BpfFs, in_namespace};

/// Most instructions of one program, on any kernel.
const MOST: u32 = 100_000;

#[test]
fn no_program_takes_the_verifier_long() {
    in_namespace(|| {
        let folder = BpfFs::new();
        let pins = Pins::open(folder.path()).unwrap();
        let object = load(&pins).unwrap();
        let mut over = Vec::new();
        for name in PROGRAMS.into_iter().chain([AFTER_DNAT]) {
            let info = object.ebpf.program(name).unwrap().info().unwrap();
            let count = info.verified_instruction_count();
            let count = count.expect("this kernel does not count");
            println!("{name}: {count} instructions");
            if count > MOST {
                over.push(format!("{name}: {count}"));
            }
        }
        assert_eq!(over, Vec::<String>::new(), "more than {MOST} instructions");
    });
}
