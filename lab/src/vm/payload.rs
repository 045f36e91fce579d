//! The disk that becomes `/weft` in the machine: weft's programs, what is added, and the command to run.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::error::file;
use super::{Error, disk};

/// Of `make build`, beside each other in one folder.
const PROGRAMS: [&str; 4] = ["weft", "weft-cni", "weft-lab", "kubensenter"];
const GUEST: [(&str, &str); 3] = [
    ("init", include_str!("guest/init.sh")),
    ("run", include_str!("guest/run.sh")),
    ("weft-vm.service", include_str!("guest/weft-vm.service")),
];
/// What a run may write into the folder.
const ROOM: u64 = 256 << 20;

/// A file that goes into the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// On the host.
    pub file: PathBuf,
    /// Its name in `/weft`.
    pub name: OsString,
}

impl std::str::FromStr for Add {
    type Err = String;

    /// `FILE`, or `FILE=NAME`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, name) = match text.rsplit_once('=') {
            Some((path, name)) => (path, Some(OsStr::new(name))),
            None => (text, Path::new(text).file_name()),
        };
        let plain = |name: &&OsStr| !name.is_empty() && !name.as_bytes().contains(&b'/');
        match name.filter(plain) {
            Some(name) if name != "guest" => Ok(Self {
                file: path.into(),
                name: name.to_owned(),
            }),
            _ => Err("neither FILE nor FILE=NAME with a plain file name".into()),
        }
    }
}

/// Makes the disk in this folder; its path.
pub(super) fn make(
    directory: &Path,
    binaries: &Path,
    add: &[Add],
    environment: &[(OsString, OsString)],
    command: &[OsString],
) -> Result<PathBuf, Error> {
    let tree = directory.join("weft");
    let guest = tree.join("guest");
    fs::create_dir_all(&guest).map_err(file("create", &guest))?;
    let programs = PROGRAMS.map(|name| Add {
        file: binaries.join(name),
        name: name.into(),
    });
    for add in programs.iter().chain(add) {
        // With its mode: what may be run may be run there.
        fs::copy(&add.file, tree.join(&add.name)).map_err(file("copy", &add.file))?;
    }
    for (name, text) in GUEST {
        write(&guest.join(name), text.as_bytes())?;
    }
    write(&guest.join("command"), &script(command))?;
    write(&guest.join("environment"), &exports(environment))?;
    let image = directory.join("payload.ext4");
    disk::ext4(&tree, &image, ROOM)?;
    fs::remove_dir_all(&tree).map_err(file("remove", &tree))?;
    Ok(image)
}

fn write(path: &Path, text: &[u8]) -> Result<(), Error> {
    fs::write(path, text).map_err(file("write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(file("change", path))
}

/// A shell script that becomes the command.
fn script(command: &[OsString]) -> Vec<u8> {
    let words: Vec<Vec<u8>> = command.iter().map(|word| quoted(word)).collect();
    [b"exec ".to_vec(), words.join(&b' '), b"\n".to_vec()].concat()
}

fn exports(environment: &[(OsString, OsString)]) -> Vec<u8> {
    let own = b"export PATH=/weft:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root WEFT_BIN_DIR=/weft\n";
    let line = |(name, value): &(OsString, OsString)| {
        [b"export ", name.as_bytes(), b"=", &quoted(value), b"\n"].concat()
    };
    let lines: Vec<Vec<u8>> = environment.iter().map(line).collect();
    [own.to_vec(), lines.concat()].concat()
}

/// One word to a shell, whatever it holds.
fn quoted(word: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in word.to_owned().into_vec() {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            other => quoted.push(other),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::{Add, OsString, script};

    #[test]
    fn words_stay_words() {
        let words = ["sh", "-c", "echo \"$HOME\" 'it''s'"].map(OsString::from);
        let expected = r#"exec 'sh' '-c' 'echo "$HOME" '\''it'\'''\''s'\'''"#;
        assert_eq!(script(&words), format!("{expected}\n").into_bytes());
    }

    #[test]
    fn a_file_has_its_own_name_or_the_one_that_is_given() {
        let add = |text: &str| text.parse::<Add>().map(|add| add.name);
        assert_eq!(add("/a/b-1f").as_deref(), Ok("b-1f".as_ref()));
        assert_eq!(add("/a/b-1f=b").as_deref(), Ok("b".as_ref()));
        for wrong in ["/", "a=", "a=b/c", "a=guest", ""] {
            assert!(add(wrong).is_err(), "{wrong}");
        }
    }
}
