//! Images, made on the spot: nothing is pulled.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use weft_wait::patience::patient;

use super::node::POD_IMAGE;
use crate::lab::error::Error;
use crate::lab::output::output_within;

/// Name of the image of the cluster's DNS server.
pub const DNS_IMAGE: &str = "localhost/coredns:1";
/// Programs that get an image, and its name.
pub const PROGRAMS: [(&str, &str); 2] = [("agnhost", POD_IMAGE), ("coredns", DNS_IMAGE)];
const SCRIPT: &str = include_str!("image.sh");

/// Makes an archive with one static program.
pub fn of_program(program: &Path, name: &str, archive: &Path) -> Result<(), Error> {
    let mut script = Command::new("bash");
    script
        .args(["-c", SCRIPT, "image"])
        .arg(program)
        .arg(name)
        .arg(archive);
    let output = output_within(&mut script, b"", patient(Duration::from_mins(1)))?;
    if output.success {
        Ok(())
    } else {
        let why = format!("make an image of {}: {}", program.display(), output.stderr);
        Err(Error::Invalid(why))
    }
}

/// Weft's own, which `make image` leaves in the source tree that this program was built from.
pub fn weft() -> Result<PathBuf, Error> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/image/weft.tar");
    path.canonicalize().map_err(|_| {
        Error::Invalid(format!(
            "{} is not there; `make image` makes it",
            path.display()
        ))
    })
}
