//! `isotherm doctor`: looks at a device before something goes wrong on it, and says what would be right.
//!
//! It looks at what the environment speaks of: the clock, the state folder and its disk, certificates, the hub's
//! ports or the way to a hub, the workload socket, the chip's bus, the metrics' address. It changes nothing, and
//! says each thing it looked at. Exit status 1 if one of them is wrong.

mod bus;
mod hub;
mod state;

use std::path::PathBuf;

use clap::Args;
use isotherm_host::{Env, Host};
use jiff::Timestamp;
use serde_json::json;

use crate::context::Context;
use crate::output::Failure;

/// No device that runs this is older: 2026-01-01. A clock before it was never set.
const BUILT_AFTER: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// `isotherm doctor`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  isotherm doctor\n  isotherm doctor --env /etc/isotherm/sensor.env --json\n\nRun it as the user that the modules run as: what that user may open is what counts."
)]
pub(crate) struct DoctorArgs {
    /// The variables to look at, under those of the environment; may be given several times [default: .env].
    #[arg(long, value_name = "FILE")]
    pub(crate) env: Vec<PathBuf>,
}

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// It will do, but somebody should know.
    Warning,
    /// Something does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug)]
pub(crate) struct Finding {
    /// What: `clock`, `disk`, …
    name: &'static str,
    verdict: Verdict,
    /// What was found, and what would be right.
    message: String,
}

impl Finding {
    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, message: message.into() }
    }

    fn warning(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, message: message.into() }
    }

    fn problem(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Problem, message: message.into() }
    }
}

/// Does the verb.
pub(crate) async fn doctor(context: &Context, args: &DoctorArgs) -> Result<(), Failure> {
    let env = environment(context, args)?;
    let host = context.host.clone().with_env(env);
    let state = context.state_of(&host.env);
    let mut findings =
        vec![clock(host.wall(), std::path::Path::new("/run/systemd/timesync/synchronized").exists())];
    findings.extend(state::look(&host, &state));
    findings.extend(hub::look(&host, &state).await);
    findings.extend(bus::look(&host.env));
    findings.extend(metrics(&host, &state).await);
    let mut problems = 0;
    for finding in &findings {
        problems += usize::from(finding.verdict == Verdict::Problem);
        say(context, finding)?;
    }
    if problems > 0 {
        return Err(Failure::No(format!("{problems} of {} things are wrong", findings.len())));
    }
    Ok(())
}

fn say(context: &Context, finding: &Finding) -> Result<(), Failure> {
    let (word, shown) = match finding.verdict {
        Verdict::Ok => ("ok", "ok      "),
        Verdict::Warning => ("warning", "warning "),
        Verdict::Problem => ("problem", "PROBLEM "),
    };
    let Finding { name, message, .. } = finding;
    let event = json!({"event": "check", "name": name, "verdict": word, "message": message});
    Ok(context.output.say(&event, format!("{shown} {name}: {message}"))?)
}

fn environment(context: &Context, args: &DoctorArgs) -> Result<Env, Failure> {
    if args.env.is_empty() {
        return context.env_with(None);
    }
    let mut env = Env::default();
    for file in &args.env {
        env = env.overlaid(&context.env_with(Some(file))?);
    }
    Ok(env)
}

/// Whether the clock shows a time that can be. Tokens and certificates hang on it.
fn clock(now: Timestamp, synchronized: bool) -> Finding {
    if now < BUILT_AFTER {
        let why = format!(
            "it shows {now}, so it was never set; tokens and certificates will be refused: set up NTP"
        );
        Finding::problem("clock", why)
    } else if synchronized {
        Finding::ok("clock", format!("{now}, synchronised"))
    } else {
        let why = format!(
            "{now}; systemd-timesyncd does not say that it is synchronised, perhaps another service is"
        );
        Finding::warning("clock", why)
    }
}

/// Whether metrics can be served where they are to be.
async fn metrics(host: &Host, state: &std::path::Path) -> Option<Finding> {
    let text = host.env.get("METRICS_ADDRESS")?;
    let Ok(address) = text.parse() else {
        return Some(Finding::problem(
            "metrics",
            format!("METRICS_ADDRESS={text}: right would be 127.0.0.1:9600"),
        ));
    };
    Some(match host.network.listen(address).await {
        Ok(_) => Finding::ok("metrics", format!("{address} is free")),
        Err(_) if somebody_runs(state) => {
            Finding::ok("metrics", format!("{address} is in use, and a module runs"))
        }
        Err(error) => Finding::problem("metrics", format!("METRICS_ADDRESS cannot be listened on: {error}")),
    })
}

/// Whether a module of this state folder is running: its health socket is there.
fn somebody_runs(state: &std::path::Path) -> bool {
    let entries = std::fs::read_dir(state).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "health"))
        .any(|path| std::os::unix::net::UnixStream::connect(path).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_1970_is_a_problem_and_one_that_nobody_synchronises_a_warning() {
        assert_eq!(clock(Timestamp::UNIX_EPOCH, true).verdict, Verdict::Problem);
        assert_eq!(clock(BUILT_AFTER, false).verdict, Verdict::Warning);
        assert_eq!(clock(BUILT_AFTER, true).verdict, Verdict::Ok);
    }
}
