//! What comes out of a machine: the console, the command's output and how it ended, each over a socket.

use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Error;
use super::error::file;

/// How long qemu may take to open its sockets.
const OPEN: Duration = Duration::from_secs(20);
/// How much of the console is kept.
const KEPT: usize = 64 * 1024;

/// The end of the console's output, while it grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Console(Arc<Mutex<Vec<u8>>>);

impl Console {
    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        let over = kept.len().saturating_sub(KEPT);
        kept.drain(..over);
    }

    /// Its text, as a terminal would leave it: without carriage returns and colours.
    pub(super) fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plain(&String::from_utf8_lossy(&kept))
    }
}

/// Without carriage returns and escape sequences (ECMA-48: ESC [ ... letter).
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                if characters.next() == Some('[') {
                    characters.find(|it| ('@'..='~').contains(it));
                }
            }
            '\r' => {}
            other => plain.push(other),
        }
    }
    plain
}

/// A socket that qemu connects to.
pub(super) fn listen(path: &Path) -> Result<UnixListener, Error> {
    let listen = || {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(file("listen on", path))
}

/// Waits for qemu to connect; `None` if it ended instead.
pub(super) fn accept(listener: &UnixListener, qemu: &mut Child) -> io::Result<Option<UnixStream>> {
    let deadline = Instant::now() + OPEN;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(Some(stream));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if qemu.try_wait()?.is_some() {
            return Ok(None);
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Keeps the console's end, and shows it on standard error if asked to.
pub(super) fn console(mut from: UnixStream, console: Console, show: bool) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            console.push(&buffer[..length]);
            if show {
                // A closed standard error ends no machine.
                drop(io::stderr().write_all(&buffer[..length]));
            }
        }
    })
}

/// Passes on what comes, as it comes.
pub(super) fn output(mut from: UnixStream, mut to: Box<dyn Write + Send>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            // The reader has gone away: the command goes on to its end all the same.
            drop(to.write_all(&buffer[..length]).and_then(|()| to.flush()));
        }
    })
}

/// Passes on lines; the sender is dropped at the end.
pub(super) fn lines(from: UnixStream, to: Sender<String>) -> JoinHandle<()> {
    thread::spawn(move || {
        let lines = BufReader::new(from).lines().map_while(Result::ok);
        // Nobody listens any more: the run has ended.
        for line in lines {
            if to.send(line).is_err() {
                return;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_console_is_told_without_its_colours() {
        let text = "\u{1b}[0;32m  OK  \u{1b}[0m] Reached\r\nnext";
        assert_eq!(super::plain(text), "  OK  ] Reached\nnext");
    }
}
