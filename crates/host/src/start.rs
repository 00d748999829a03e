//! What every module's `main` does: arguments, logs, signals, and the exit status.

mod health;
mod state;

use crate::drive::nap;
use crate::{Env, Host, Stop, WiringError, log, memory, metrics};
use anyhow::{Context as _, anyhow};
use std::io;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

/// It ran and the answer is no.
pub const EXIT_NO: u8 = 1;
/// Wrong usage.
pub const EXIT_USAGE: u8 = 2;
/// Nobody answers there.
pub const EXIT_UNAVAILABLE: u8 = 69;
/// Wrong configuration.
pub const EXIT_CONFIGURATION: u8 = 78;

/// How long a module may take to end once it was told to; container engines kill after ten seconds.
pub const STOP_GRACE: Duration = Duration::from_secs(9);

/// After this long a module has started, and does what it then goes on doing.
const STARTED: Duration = Duration::from_secs(2);

/// Nobody answers there: ends the process with exit status 69.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Runs a module as a process of its own. `name` and `version` are what `--version` prints.
///
/// SIGINT and SIGTERM stop it, and it has [`STOP_GRACE`] to end; a second one ends it at once.
pub fn main<F>(name: &'static str, version: &'static str, run: impl FnOnce(Host) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|one| one.to_string_lossy().into()).collect();
    let outcome = match verb(&arguments) {
        Ok(Verb::Run) => run_module(name, Host::real(), run),
        Ok(Verb::Health) => health::ask(&Env::of_process(), name),
        Ok(Verb::Version) => {
            println!("{name} {version}");
            Ok(())
        }
        Ok(Verb::Help) => {
            print!("{}", help(name, version));
            Ok(())
        }
        Err(wrong) => {
            eprintln!("{name}: {wrong}\n\n{}", help(name, version));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {}", sentence(&error));
            ExitCode::from(exit_status(&error))
        }
    }
}

/// The exit status that an error of `run` stands for: 78 for a [`WiringError`], 69 for an [`Unavailable`], else 1.
pub fn exit_status(error: &anyhow::Error) -> u8 {
    if caused_by::<WiringError>(error) {
        EXIT_CONFIGURATION
    } else if caused_by::<Unavailable>(error) {
        EXIT_UNAVAILABLE
    } else {
        EXIT_NO
    }
}

/// The error and its causes in one line; a cause that the sentence before it has said already is not said again.
pub fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| {
        if said.is_empty() {
            cause
        } else if said.ends_with(&cause) {
            said
        } else {
            format!("{said}: {cause}")
        }
    })
}

/// Says stop at the first SIGINT or SIGTERM; a second one ends the process at once, with status 1.
///
/// # Errors
/// When the system does not let us hear signals.
///
/// # Panics
/// Outside a tokio runtime.
pub fn stop_on_signals(stop: Stop) -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        one_of(&mut interrupt, &mut terminate).await;
        tracing::info!("told to stop");
        stop.stop();
        one_of(&mut interrupt, &mut terminate).await;
        std::process::exit(EXIT_NO.into());
    });
    Ok(())
}

async fn one_of(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        biased;
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// What a module is asked to do.
#[derive(Debug, PartialEq, Eq)]
enum Verb {
    Run,
    Health,
    Version,
    Help,
}

fn verb(arguments: &[String]) -> Result<Verb, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => Ok(Verb::Run),
        ["health"] => Ok(Verb::Health),
        ["--version" | "-V"] => Ok(Verb::Version),
        ["--help" | "-h" | "help"] => Ok(Verb::Help),
        _ => Err(format!("unknown arguments {:?}; everything comes from the environment", words.join(" "))),
    }
}

fn help(name: &str, version: &str) -> String {
    format!(
        "{name} {version}: a module of isotherm\n\n\
         Usage:\n  \
           {name}             run until SIGINT or SIGTERM\n  \
           {name} health      exit 0 if the {name} of this state folder (ISOTHERM_STATE) answers, else 69\n  \
           {name} --version\n  \
           {name} --help\n\n\
         Everything else comes from the environment: .env.example lists every variable.\n\
         Exit status: 0 done, 1 it failed, 2 wrong usage, 69 nobody answers, 78 a variable is wrong.\n"
    )
}

fn run_module<F>(name: &'static str, host: Host, run: impl FnOnce(Host) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    log::init(&host.env, "info")?;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // The thread is the module's own, so nobody else is held up by its naps.
    let runtime = runtime.enable_all().on_thread_park(nap::before_waiting).build();
    let runtime = runtime.context("the runtime does not start")?;
    let outcome = runtime.block_on(supervise(name, host, run));
    runtime.shutdown_background(); // a chip that hangs on its bus must not keep the process
    outcome
}

/// Runs the module beside those that hear signals and answer for its health.
async fn supervise<F>(name: &'static str, host: Host, run: impl FnOnce(Host) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    stop_on_signals(host.stop.clone()).context("signals cannot be heard")?;
    metrics::serve(&host).await?;
    if let Err(error) = health::serve(&host, name).await {
        if let Some(unusable) = state::unusable(host.state_folder(), &error) {
            return Err(unusable);
        }
        tracing::warn!(%error, "`{name} health` will not be answered");
    }
    tokio::spawn(async {
        sleep(STARTED).await;
        memory::forget_start();
    });
    let stop = host.stop.clone();
    let overdue = async {
        stop.stopped().await;
        sleep(STOP_GRACE).await;
    };
    // A task among the others: whenever the runtime's own future is woken, it asks the system for news first.
    let running = tokio::spawn(run(host));
    tokio::select! {
        biased;
        outcome = running => outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())),
        () = overdue => Err(anyhow!("it did not end within 9 s of being told to")),
    }
}

/// Whether an error of this kind is anywhere among the causes, inside an I/O error too.
fn caused_by<E: std::error::Error + 'static>(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let inside = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause.is::<E>() || inside.is_some_and(|inside| inside.is::<E>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn words(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_sentence_says_each_cause_once() {
        let wiring = WiringError::new("SENSOR_CHIP", "is not set");
        let once = anyhow::Error::new(wiring.clone()).context("SENSOR_CHIP: is not set");
        assert_eq!(sentence(&once), "SENSOR_CHIP: is not set");
        assert_eq!(
            sentence(&anyhow::Error::new(wiring).context("the sensor")),
            "the sensor: SENSOR_CHIP: is not set"
        );
    }

    #[test]
    fn a_module_has_no_arguments_but_three() {
        assert_eq!(verb(&[]), Ok(Verb::Run));
        assert_eq!(verb(&words(&["health"])), Ok(Verb::Health));
        assert_eq!(verb(&words(&["--version"])), Ok(Verb::Version));
        assert_eq!(verb(&words(&["--help"])), Ok(Verb::Help));
        let error = verb(&words(&["--port", "1"])).unwrap_err();
        assert_eq!(error, "unknown arguments \"--port 1\"; everything comes from the environment");
    }

    #[test]
    fn the_exit_status_says_what_kind_of_trouble_it_was() {
        let wiring = WiringError::new("SENSOR_CHIP", "\"tmp103\" is no chip");
        assert_eq!(exit_status(&anyhow::Error::new(wiring.clone()).context("starting")), 78);
        assert_eq!(exit_status(&io::Error::other(wiring).into()), 78);
        assert_eq!(exit_status(&Unavailable("no hub there".into()).into()), 69);
        assert_eq!(exit_status(&anyhow!("no")), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_module_that_does_not_end_is_ended() {
        let host = Host { disk: Arc::new(crate::MemoryDisk::new()), ..Host::real() };
        host.stop.stop();
        let long = format!("/tmp/{}", "far".repeat(40)); // too long for a socket's address: nobody is told of its health
        let host = host.with_env(Env::of([("ISOTHERM_STATE", long)]));
        let outcome = supervise("sensor", host, async |_host: Host| std::future::pending().await).await;
        assert!(outcome.unwrap_err().to_string().contains("did not end within 9 s"));
    }

    #[tokio::test]
    async fn a_state_folder_that_cannot_be_used_is_named_with_what_would_be_right() {
        let file = std::env::temp_dir().join(format!("isotherm-state-{}", std::process::id()));
        std::fs::write(&file, "a file where a folder should be").unwrap();
        let host = Host::real().with_env(Env::of([("ISOTHERM_STATE", file.join("x").to_str().unwrap())]));
        let outcome = supervise("sensor", host, async |_host: Host| panic!("it is not even begun")).await;
        std::fs::remove_file(&file).unwrap();
        let error = outcome.unwrap_err();
        let said = sentence(&error);
        assert!(said.starts_with("ISOTHERM_STATE: ") && said.contains("right would be a folder"), "{said}");
        assert_eq!(exit_status(&error), 78);

        let of = |kind: io::ErrorKind| state::unusable(std::path::Path::new("/state"), &kind.into());
        let denied = of(io::ErrorKind::PermissionDenied).unwrap();
        assert!(sentence(&denied).contains("/state must belong to user "), "{denied}");
        let read_only = of(io::ErrorKind::ReadOnlyFilesystem).unwrap();
        assert!(sentence(&read_only).contains("in a container a volume"), "{read_only}");
        assert_eq!((exit_status(&denied), exit_status(&read_only)), (78, 1));
        assert!(of(io::ErrorKind::InvalidInput).is_none());
    }
}
