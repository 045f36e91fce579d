//! Names that come from outside and end in file names, link names and rows: valid by construction.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weft_core::model::EndpointId;

/// Why a name was refused; the caller names the variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(String);

/// Longer ids than any runtime's (64 hexadecimal digits).
const CONTAINER_ID_MAX: usize = 128;
/// IFNAMSIZ without its NUL.
const IFNAME_MAX: usize = 15;
/// Length of a pod's name.
const NAME_MAX: usize = 253;

/// An attachment as the runtime names it: CNI_CONTAINERID and CNI_IFNAME, both checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "EndpointId", into = "EndpointId")]
pub struct Attachment(EndpointId);

impl Attachment {
    /// The attachment's name in the model.
    pub fn id(&self) -> &EndpointId {
        &self.0
    }
}

impl TryFrom<EndpointId> for Attachment {
    type Error = InvalidName;

    fn try_from(id: EndpointId) -> Result<Self, InvalidName> {
        check_container(&id.container)?;
        check_ifname(&id.ifname)?;
        Ok(Self(id))
    }
}

impl From<Attachment> for EndpointId {
    fn from(attachment: Attachment) -> Self {
        attachment.0
    }
}

/// CNI_CONTAINERID: the specification's alphabet, which cannot spell a path.
pub fn check_container(id: &str) -> Result<(), InvalidName> {
    let alphabet = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if id.is_empty()
        || id.len() > CONTAINER_ID_MAX
        || !id.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !id.chars().all(alphabet)
    {
        return Err(InvalidName(format!(
            "{} is no container id: it must start with a letter or digit, consist of letters, digits, '_', '.' and \
             '-', and have at most {CONTAINER_ID_MAX} characters",
            quoted(id)
        )));
    }
    Ok(())
}

/// CNI_IFNAME. `%` is refused because the kernel takes it as a pattern, `lo` because every namespace has one.
pub fn check_ifname(name: &str) -> Result<(), InvalidName> {
    let alphabet = |c: char| c.is_ascii_graphic() && !"/:%\"'\\".contains(c);
    if name.is_empty()
        || name.len() > IFNAME_MAX
        || matches!(name, "." | ".." | "lo" | "all" | "default")
        || !name.chars().all(alphabet)
    {
        return Err(InvalidName(format!(
            "{} is no name for a pod's interface: 1 to {IFNAME_MAX} printable characters without '/', ':', '%', quotes \
             and space, and not \".\", \"..\", \"lo\", \"all\" or \"default\"; runtimes use eth0",
            quoted(name)
        )));
    }
    Ok(())
}

/// K8S_POD_NAMESPACE and K8S_POD_NAME.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedPod")]
pub struct PodRef {
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct UncheckedPod {
    namespace: String,
    name: String,
}

impl TryFrom<UncheckedPod> for PodRef {
    type Error = InvalidName;

    fn try_from(pod: UncheckedPod) -> Result<Self, InvalidName> {
        Self::new(&pod.namespace, &pod.name)
    }
}

impl PodRef {
    /// Checks both names as Kubernetes does: a DNS-1123 label and a DNS-1123 subdomain.
    pub fn new(namespace: &str, name: &str) -> Result<Self, InvalidName> {
        if !is_namespace(namespace) {
            return Err(InvalidName(format!(
                "K8S_POD_NAMESPACE={} is no namespace: at most 63 lower-case letters, digits and '-', a letter or digit \
                 at both ends",
                quoted(namespace)
            )));
        }
        if name.len() > NAME_MAX || !name.split('.').all(is_label) {
            return Err(InvalidName(format!(
                "K8S_POD_NAME={} is no pod name: at most 253 lower-case letters, digits, '-' and '.', a letter or digit \
                 at both ends of each part",
                quoted(name)
            )));
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// A container of a runtime that knows nothing of pods: its name is made to one of Kubernetes, in small letters and
    /// with '-' for what those do not allow. It is shown only; who is meant is the attachment's matter.
    pub fn of_container(namespace: &str, name: &str) -> Result<Self, InvalidName> {
        let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let mapped: String = name.chars().take(NAME_MAX).map(allowed).collect();
        Self::new(namespace, mapped.to_ascii_lowercase().trim_matches('-'))
    }

    /// The pod's namespace: its project.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The pod's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Whether it can be a namespace's name.
pub fn is_namespace(name: &str) -> bool {
    name.len() <= 63 && is_label(name)
}

fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    edge(text.chars().next())
        && edge(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// For messages: escaped, so that it cannot forge log lines, and cut.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{:?}... ({} bytes)", &text[..cut], text.len()),
        None => format!("{text:?}"),
    }
}

/// Prefix of every host-side veth.
pub const HOST_IFNAME_PREFIX: &str = "weft";
/// Hexadecimal digits after it.
const HASH_DIGITS: usize = 10;

/// Name of an attachment's host-side veth: `weft` + 10 hexadecimal digits of SHA-256(container id + "/" + ifname).
/// It also names the attachment's file in the journal, so nothing from outside is ever part of a path.
pub fn host_ifname(id: &EndpointId) -> String {
    let hash = Sha256::digest(format!("{}/{}", id.container, id.ifname));
    let hash = &hash[..HASH_DIGITS / 2];
    hash.iter()
        .fold(HOST_IFNAME_PREFIX.to_owned(), |name, byte| {
            format!("{name}{byte:02x}")
        })
}

/// Could [`host_ifname`] have made this name?
pub fn is_host_ifname(name: &str) -> bool {
    name.strip_prefix(HOST_IFNAME_PREFIX).is_some_and(|hash| {
        hash.len() == HASH_DIGITS
            && hash
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(container: &str, ifname: &str) -> EndpointId {
        EndpointId {
            container: container.into(),
            ifname: ifname.into(),
        }
    }

    #[test]
    fn a_name_that_could_leave_its_place_is_refused() {
        for container in [
            "",
            "../x",
            ".hidden",
            "a/b",
            "a b",
            "a\nb",
            &"a".repeat(129),
        ] {
            assert!(
                Attachment::try_from(id(container, "eth0")).is_err(),
                "{container:?}"
            );
        }
        for ifname in [
            "",
            ".",
            "..",
            "a/b",
            "eth%d",
            "e:0",
            "lo",
            "sixteen-letters-",
            "e\n0",
            "\u{e9}th0",
        ] {
            assert!(
                Attachment::try_from(id("abc", ifname)).is_err(),
                "{ifname:?}"
            );
        }
        assert!(Attachment::try_from(id("cnitool-0123.x_y", "eth0")).is_ok());
    }

    #[test]
    fn pods_are_named_as_kubernetes_names_them() {
        assert!(PodRef::new("a", "web-0.x").is_ok());
        for (namespace, name) in [
            ("", "p"),
            ("a", ""),
            ("A", "p"),
            ("a.b", "p"),
            ("a/b", "p"),
            ("a", "-p"),
            ("a", "p..q"),
            (&"a".repeat(64), "p"),
            ("a", &"p".repeat(254)),
        ] {
            assert!(
                PodRef::new(namespace, name).is_err(),
                "{namespace:?} {name:?}"
            );
        }
    }

    #[test]
    fn names_of_containers_become_names_of_pods() {
        for (name, pod) in [
            ("web", "web"),
            ("Quirky_Wozniak", "quirky-wozniak"),
            ("a.b_", "a-b"),
        ] {
            assert_eq!(PodRef::of_container("a", name), PodRef::new("a", pod));
        }
        assert!(PodRef::of_container("a", "__").is_err());
        assert!(PodRef::of_container("A", "web").is_err());
    }

    #[test]
    fn host_names_fit_the_kernel_and_differ_by_interface() {
        let a = host_ifname(&id("abc", "eth0"));
        assert_eq!(a.len(), 14);
        assert!(is_host_ifname(&a));
        assert_ne!(a, host_ifname(&id("abc", "eth1")));
        for other in [
            "weft0",
            "weft",
            "weft012345678",
            "weft01234567890",
            "weftGHIJKLMNOP",
            "veth0123456789",
        ] {
            assert!(!is_host_ifname(other), "{other}");
        }
    }
}
