//! One machine, from its start to the end of its command.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::channel::{self, Console};
use super::error::file;
use super::qemu::{self, CONSOLE, Machine, PORTS};
use super::tool::last;
use super::{Cache, Error, Kernel, Say, Spec, initramfs, payload, root};

/// Lines of the console that an error repeats.
const LINES: usize = 25;

/// Where a command's output goes.
pub struct Output {
    /// Standard output.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error.
    pub stderr: Box<dyn Write + Send>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Its exit code; 128 and the signal's number if one ended it, as in a shell.
    pub code: u8,
    /// From qemu's start to the command's.
    pub boot: Duration,
    /// Of the command.
    pub took: Duration,
}

/// Runs the command of `spec` in a machine of its own. `cancelled` is asked now and then.
pub fn run(
    cache: &Cache,
    spec: &Spec<'_>,
    output: Output,
    (say, cancelled): (Say<'_>, &dyn Fn() -> bool),
) -> Result<Outcome, Error> {
    let place = Place::make(cache)?;
    let machine = machine(cache, spec, &place, Some(&place.0), say)?;
    let listen = |name: &str| channel::listen(&place.0.join(name));
    let console_listener = listen(CONSOLE)?;
    let [control, stdout, stderr] = PORTS;
    let listeners = [listen(control)?, listen(stdout)?, listen(stderr)?];
    let errors = place.0.join("qemu.log");
    let log = File::create(&errors).map_err(file("create", &errors))?;
    let begun = Instant::now();
    let mut command = qemu::command(&machine)?;
    let child = command.stderr(log).spawn().map_err(Error::Start)?;
    let mut qemu = Qemu(child);

    let console = Console::default();
    let ended = |qemu: &mut Qemu| ended(qemu, &console.text(), &errors);
    let mut streams = Vec::new();
    for listener in [&console_listener].into_iter().chain(&listeners) {
        match channel::accept(listener, &mut qemu.0).map_err(Error::Start)? {
            Some(stream) => streams.push(stream),
            None => return Err(ended(&mut qemu)),
        }
    }
    let (tell, told) = mpsc::channel();
    let mut streams = streams.into_iter();
    let mut next = || {
        streams
            .next()
            .ok_or(Error::Start(std::io::ErrorKind::NotConnected.into()))
    };
    let mut readers = vec![
        channel::console(next()?, console.clone(), spec.console),
        channel::lines(next()?, tell),
        channel::output(next()?, output.stdout),
        channel::output(next()?, output.stderr),
    ];
    let result = follow(spec.deadline, begun, &told, cancelled);
    let result = match result {
        Ok(outcome) => {
            // All output was taken by qemu before the command's end was told, so that it can be read to its end.
            qemu.kill();
            readers.drain(..).for_each(|reader| drop(reader.join()));
            return Ok(outcome);
        }
        Err(Stopped::Gone) => {
            // The console's last words come before the error that repeats them.
            qemu.kill_unless_ended();
            drop(readers.remove(0).join());
            ended(&mut qemu)
        }
        Err(Stopped::Late(what)) => Error::Deadline {
            what,
            deadline: spec.deadline,
            console: last(&console.text(), LINES),
        },
        Err(Stopped::Cancelled) => Error::Interrupted,
    };
    Err(result)
}

/// A shell on the machine's console, which becomes this terminal.
pub fn shell(cache: &Cache, spec: &Spec<'_>, say: Say<'_>) -> Result<ExitStatus, Error> {
    let place = Place::make(cache)?;
    let machine = machine(cache, spec, &place, None, say)?;
    let mut command = qemu::command(&machine)?;
    command.stdin(std::process::Stdio::inherit());
    let mut qemu = Qemu(command.spawn().map_err(Error::Start)?);
    qemu.0.wait().map_err(Error::Start)
}

fn machine<'a>(
    cache: &Cache,
    spec: &'a Spec<'_>,
    place: &Place,
    sockets: Option<&'a Path>,
    say: Say<'_>,
) -> Result<Machine<'a>, Error> {
    // The cheapest check first: without qemu nothing else is of use.
    qemu::found()?;
    let kernel = Kernel::fetch(cache, spec.kernel, false, say)?;
    let root = root::fetch(cache, false, say)?;
    let payload = payload::make(
        &place.0,
        &spec.binaries,
        &spec.add,
        &spec.environment,
        &spec.command,
    )?;
    let initramfs = place.0.join("initramfs.cpio");
    initramfs::write(&kernel, &initramfs)?;
    Ok(Machine {
        kernel: kernel.image(),
        initramfs,
        disks: [root, kernel.modules(), payload],
        sockets,
        memory: spec.memory,
        cpus: spec.cpus,
        init: spec.init,
        append: &spec.append,
    })
}

enum Stopped {
    Gone,
    Late(&'static str),
    Cancelled,
}

/// Follows the lines that the machine's control port tells, to the command's end.
fn follow(
    patience: Duration,
    begun: Instant,
    told: &mpsc::Receiver<String>,
    cancelled: &dyn Fn() -> bool,
) -> Result<Outcome, Stopped> {
    let mut started = None;
    loop {
        if cancelled() {
            return Err(Stopped::Cancelled);
        }
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(Stopped::Late(match started {
                None => "the machine did not come up",
                Some(_) => "the command did not end",
            }));
        }
        match told.recv_timeout(left.min(Duration::from_millis(100))) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Stopped::Gone),
            Ok(line) => match line.split_once(' ') {
                Some(("exit", code)) => {
                    let boot = started.unwrap_or_default();
                    return Ok(Outcome {
                        code: code.parse().map_err(|_| Stopped::Gone)?,
                        boot,
                        took: begun.elapsed().saturating_sub(boot),
                    });
                }
                _ => started = Some(begun.elapsed()),
            },
        }
    }
}

/// Why it ended, by what it said.
fn ended(qemu: &mut Qemu, console: &str, errors: &Path) -> Error {
    // Its own words and the trace after them; what else comes then is of no use.
    if let Some(at) = console.find("Kernel panic") {
        let words: Vec<&str> = console[at..].lines().take(2 * LINES).collect();
        return Error::Panic {
            line: words[0].to_owned(),
            console: words.join("\n"),
        };
    }
    let status = qemu.0.wait();
    let said = fs::read_to_string(errors).unwrap_or_default();
    Error::Ended {
        status: status.map_or_else(|error| error.to_string(), |status| status.to_string()),
        qemu: if said.is_empty() {
            said
        } else {
            format!(": {}", last(&said, LINES))
        },
        console: last(console, LINES),
    }
}

/// A qemu that ends with this value.
struct Qemu(Child);

impl Qemu {
    fn kill(&mut self) {
        // It has ended by itself, which is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }

    /// Where its control port closed, it ends by itself within a moment.
    fn kill_unless_ended(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A folder for one run, gone when dropped; those of killed runs go at the next one.
struct Place(
    PathBuf,
    #[expect(dead_code, reason = "held while the run lasts")] File,
);

impl Place {
    fn make(cache: &Cache) -> Result<Self, Error> {
        let all = cache.path("runs");
        fs::create_dir_all(&all).map_err(file("create", &all))?;
        let _one_at_a_time = cache.lock("runs")?;
        for entry in fs::read_dir(&all).map_err(file("read", &all))?.flatten() {
            let lock = File::open(entry.path().join("lock"));
            // A folder without a lock is of a command that was killed before it had made it.
            if lock.map_or(true, |lock| lock.try_lock().is_ok()) {
                super::cache::remove(&entry.path())?;
            }
        }
        let directory = all.join(format!("{:08x}", rand::random::<u32>()));
        fs::create_dir(&directory).map_err(file("create", &directory))?;
        let path = directory.join("lock");
        let mut lock = File::create(&path).map_err(file("create", &path))?;
        lock.lock().map_err(file("lock", &path))?;
        // Whose it is, for who looks at the folder.
        write!(lock, "{}", std::process::id()).map_err(file("write", &path))?;
        Ok(Self(directory, lock))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(lines: &[&str], patience: Duration) -> Result<Outcome, Stopped> {
        let (tell, told) = mpsc::channel();
        for line in lines {
            tell.send((*line).to_owned())
                .expect("the receiver is there");
        }
        // Held or dropped: a machine that goes on, or one that has ended.
        let held = (patience.is_zero()).then_some(tell);
        let result = follow(patience, Instant::now(), &told, &|| false);
        drop(held);
        result
    }

    #[test]
    fn the_exit_code_is_that_of_the_command_and_no_end_is_no_success() {
        let minute = Duration::from_mins(1);
        let outcome = followed(&["started 9.1", "exit 37"], minute);
        assert!(matches!(outcome, Ok(Outcome { code: 37, .. })));
        assert!(matches!(
            followed(&["started 9.1"], minute),
            Err(Stopped::Gone)
        ));
        assert!(matches!(
            followed(&["exit what"], minute),
            Err(Stopped::Gone)
        ));
        let late = followed(&[], Duration::ZERO);
        assert!(matches!(late, Err(Stopped::Late(what)) if what.contains("come up")));
    }
}
