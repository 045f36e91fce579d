//! Between `weft-cni` and the agent: one request and one answer a connection, each a frame of four bytes of length
//! (little endian) and JSON. The request's first byte carries the pod's network namespace as a descriptor, if any:
//! the agent may run where the path means nothing.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weft_core::model::EndpointId;

use super::identity::{Attachment, PodRef};
use super::netconf::Bandwidth;
use super::spec::{CniError, SpecVersion};

/// Number of this protocol. Plugin and agent are replaced at different times: each refuses another number by name.
pub const PROTOCOL: u32 = 1;
/// Longest frame: a GC of 8,000 attachments fits.
const FRAME_MAX: usize = 1 << 20;

/// The protocol number alone: read before anything that another number may spell differently.
#[derive(Debug, Deserialize)]
pub struct Spoken {
    /// [`PROTOCOL`] of the sender.
    pub protocol: u32,
}

/// What the plugin sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// [`PROTOCOL`]
    pub protocol: u32,
    /// Version of the result.
    pub version: SpecVersion,
    /// Name of the network.
    pub network: String,
    /// How long the plugin will wait, in milliseconds. A duration, not a time: no clock is shared.
    pub patience_ms: u64,
    /// What to do.
    pub verb: Verb,
}

/// What to do. Names are checked again when this is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "UPPERCASE")]
pub enum Verb {
    /// The descriptor comes with it.
    Add {
        /// The attachment.
        attachment: Attachment,
        /// CNI_NETNS, for messages and the result.
        netns: String,
        /// The pod.
        pod: PodRef,
        /// Limits asked for.
        bandwidth: Option<Bandwidth>,
    },
    /// Needs no descriptor: the namespace may be gone.
    Del {
        /// The attachment.
        attachment: Attachment,
    },
    /// The descriptor comes with it.
    Check {
        /// The attachment.
        attachment: Attachment,
        /// CNI_NETNS, for messages.
        netns: String,
        /// What ADD returned.
        prev_result: Value,
    },
    /// Remove what is not in the list.
    Gc {
        /// What shall stay.
        valid: Vec<EndpointId>,
    },
    /// Can ADD be served?
    Status,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// What to print; nothing if the command has no result.
    Done(Option<Value>),
    /// The error object.
    Failed(CniError),
}

/// Sends one frame, with `netns` on its first byte.
pub fn send(
    stream: &mut UnixStream,
    message: &impl Serialize,
    netns: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > FRAME_MAX {
        let text = format!("message of {length} bytes, at most {FRAME_MAX} fit");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let header = u32::try_from(length).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&header.to_le_bytes());
    let mut sent = 0;
    if let Some(netns) = netns {
        let descriptors = [netns.as_raw_fd()];
        sent = sendmsg::<()>(
            stream.as_raw_fd(),
            &[IoSlice::new(&frame)],
            &[ControlMessage::ScmRights(&descriptors)],
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
    }
    stream.write_all(&frame[sent..])
}

/// Receives one frame and the descriptor that came with it.
pub fn receive(stream: &mut UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut header = [0; 4];
    let (got, netns) = receive_descriptor(stream, &mut header)?;
    stream.read_exact(&mut header[got..])?;
    let length = u32::from_le_bytes(header) as usize;
    if length > FRAME_MAX {
        return Err(malformed(format!(
            "message of {length} bytes, at most {FRAME_MAX} are taken"
        )));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((body, netns))
}

fn receive_descriptor(
    stream: &UnixStream,
    header: &mut [u8; 4],
) -> io::Result<(usize, Option<OwnedFd>)> {
    // Room for as many as the kernel sends at once (SCM_MAX_FD): a truncated list would leak those that did arrive.
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 253]);
    let mut slices = [IoSliceMut::new(header)];
    let message = recvmsg::<()>(
        stream.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut received = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            for fd in descriptors {
                #[expect(unsafe_code, reason = "descriptors arrive as numbers")]
                // SAFETY: the kernel has just made this descriptor for this message, so nobody else owns it.
                received.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    if received.len() > 1 {
        return Err(malformed("more than one descriptor in a request".into()));
    }
    match message.bytes {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => Ok((n, received.pop())),
    }
}

fn malformed(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
