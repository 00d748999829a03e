//! The processes under test: started, watched from outside through `/proc`, ended.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::time::Duration;

use isotherm_host::Host;
use serde_json::Value;

/// How long a process may take until it answers.
const START_WITHIN: Duration = Duration::from_secs(20);
/// How Linux counts in `/proc/*/stat`, whatever its own clock does.
const TICKS_A_SECOND: u64 = 100;

/// A process of its own; killed when dropped.
#[derive(Debug)]
pub(super) struct Child {
    process: Process,
    log: PathBuf,
    /// The process that does the work, where the one started is a script around it.
    within: Option<u32>,
    /// What ends whatever it leaves behind.
    afterwards: Vec<Command>,
}

impl Child {
    /// Starts it with the given variables besides ours; what it says on standard error goes to `log`.
    pub(super) fn start<S: AsRef<OsStr>>(
        program: &Path,
        words: &[S],
        variables: &[(&str, String)],
        log: PathBuf,
    ) -> io::Result<Self> {
        let process = Command::new(program)
            .args(words)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
        Ok(Self { process, log, within: None, afterwards: Vec::new() })
    }

    /// Watches a process that this one started, from now on, and ends it with this one.
    pub(super) fn watch(&mut self, within: u32) {
        let mut kill = Command::new("kill");
        kill.args(["-9", &within.to_string()]);
        self.within = Some(within);
        self.afterwards.push(kill);
    }

    /// Has something done when it has ended.
    pub(super) fn afterwards(&mut self, command: Command) {
        self.afterwards.push(command);
    }

    /// The next line of JSON that it prints.
    pub(super) async fn line(&mut self, host: &Host) -> io::Result<Value> {
        let Some(out) = self.process.stdout.take() else {
            return Err(io::Error::other("its standard output was given away"));
        };
        let mut out = BufReader::new(out);
        let (out, line) = host
            .blocking(move || {
                let mut line = String::new();
                let read = out.read_line(&mut line);
                (out, read.map(|_| line))
            })
            .await;
        self.process.stdout = Some(out.into_inner()); // lines are read one at a time, with pauses between
        let line = line?;
        serde_json::from_str(&line).map_err(|_| io::Error::other(format!("{line:?}; {}", self.last_words())))
    }

    /// Its standard output, for who reads all of it.
    pub(super) fn output(&mut self) -> Option<std::process::ChildStdout> {
        self.process.stdout.take()
    }

    /// The number that the system knows it by: of the process that does the work.
    pub(super) fn id(&self) -> u32 {
        self.within.unwrap_or(self.process.id())
    }

    /// What it used of processors until now, all threads together. The system counts to the nanosecond for threads
    /// that live and to the hundredth of a second for the whole process, threads that ended included: the larger of
    /// the two is nearer to the truth.
    pub(super) fn cpu(&self) -> Duration {
        self.cpu_of_threads().max(self.cpu_of_process())
    }

    fn cpu_of_process(&self) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields); // its name may have blanks in it
        let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
        Duration::from_millis(ticks.sum::<u64>() * 1000 / TICKS_A_SECOND)
    }

    fn cpu_of_threads(&self) -> Duration {
        let tasks = format!("/proc/{}/task", self.id());
        let of_task = |task: std::fs::DirEntry| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        };
        let tasks = std::fs::read_dir(tasks).into_iter().flatten().flatten();
        Duration::from_nanos(tasks.filter_map(of_task).sum())
    }

    /// The most memory it ever had resident, in bytes.
    pub(super) fn memory_peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// What it has resident now, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The part of [`Child::memory`] that is its own, and not pages of its binary.
    pub(super) fn own_memory(&self) -> u64 {
        self.status("RssAnon:")
    }

    fn status(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    }

    /// What it said last on standard error.
    pub(super) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().last().unwrap_or("it said nothing").to_owned()
    }

    /// Ends it at once, as a power cut would.
    pub(super) fn kill(&mut self) {
        let _ = self.process.kill(); // it may be gone already
        let _ = self.process.wait();
        for mut command in self.afterwards.drain(..) {
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status(); // it may be gone already
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody listens on.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until somebody listens there.
pub(super) async fn answers(host: &Host, port: u16, child: &Child) -> io::Result<()> {
    let end = host.now() + START_WITHIN;
    while host.network.dial("127.0.0.1", port).await.is_err() {
        if host.now() > end {
            return Err(io::Error::other(format!("nobody answers: {}", child.last_words())));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Waits until a file is there whole, as JSON.
pub(super) async fn written<T: serde::de::DeserializeOwned>(
    host: &Host,
    path: &Path,
    child: &Child,
) -> io::Result<T> {
    let end = host.now() + START_WITHIN;
    loop {
        let bytes = host.disk.read(path).unwrap_or_default();
        if let Ok(value) = serde_json::from_slice(&bytes) {
            return Ok(value);
        }
        if host.now() > end {
            return Err(io::Error::other(format!(
                "{} does not come: {}",
                path.display(),
                child.last_words()
            )));
        }
        // Another process writes it, and nothing but looking again tells when.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A folder of this run alone, gone at its end.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(under: &Path, name: &str) -> io::Result<Self> {
        let path = under.join(format!("bench-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path.canonicalize()?))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_counting_agree_where_no_thread_has_ended() {
        let log = std::env::temp_dir().join(format!("isotherm-cpu-{}", std::process::id()));
        let count = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo 1; sleep 60";
        let mut child = Child::start(Path::new("sh"), &["-c", count], &[], log.clone()).unwrap();
        let mut line = String::new();
        BufReader::new(child.output().unwrap()).read_line(&mut line).unwrap();
        let (threads, process) = (child.cpu_of_threads(), child.cpu_of_process());
        assert!(threads > Duration::from_millis(20), "{threads:?}");
        let apart = threads.abs_diff(process);
        assert!(apart <= Duration::from_millis(20), "{threads:?} and {process:?}, of one thread");
        drop(child);
        let _ = std::fs::remove_file(log);
    }
}
