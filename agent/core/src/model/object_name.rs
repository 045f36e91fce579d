//! Names of API objects.

/// Checks a name of a cluster-wide object: a DNS subdomain (RFC 1123), as Kubernetes asks.
pub fn check_name(name: &str) -> Result<(), String> {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty()
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        return Ok(());
    }
    let shown: String = name.chars().take(60).collect();
    Err(format!(
        "{shown:?} is no valid name: at most 253 lower-case letters, digits, '-' and '.', each part between dots \
         beginning and ending with a letter or digit"
    ))
}
