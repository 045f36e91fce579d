//! An answer that comes from another node: `from_overlay` needs a real overlay device.

use weft_ebpf::packet::proto;

use super::messages::{answer, ip};
use super::scene::{ID, PORT, WWW, with_scene};
use crate::frames::{Frame, frame};
use crate::overlay::lab::{POD, REMOTE, lab, send};
use crate::rig::PEER;

#[test]
fn from_another_node() {
    with_scene(|scene| {
        let lab = lab(scene.rig);
        scene.set_up();
        let (peer, pod) = (lab.underlay(PEER, 0), lab.pod(PORT));
        scene.ask(REMOTE, ID, WWW.0);
        let reply = Frame {
            proto: proto::UDP,
            src_port: 53,
            dst_port: PORT,
            payload: answer(ID, WWW.0, &[ip("198.51.100.1")]).to_vec().unwrap(),
            ..frame(REMOTE, POD)
        };
        send(&peer, 10, &reply);
        pod.recv(&mut [0; 512]).expect("the answer reaches the pod");
        assert_eq!(
            scene.names_of("198.51.100.1"),
            vec![WWW.1],
            "known before the pod has its answer"
        );
    });
}
