//! The verbs and their flags, as `isotherm --help` shows them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Readings of a TMP102 through sensor, filter and hub: on a laptop as on a device.
#[derive(Debug, Parser)]
#[command(name = "isotherm", version, about, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) manners: Manners,
    /// What to do; without a verb: `up`.
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

const EXAMPLES: &str = "\
Examples:
  isotherm                                    a whole site, with a live view
  isotherm up --replay temps.csv --unit f --speed max --until-end --json
  isotherm twin patch filter '{\"TemperatureThreshold\": 30}'
  isotherm method sensor readNow
  isotherm watch upstream --from earliest --count 10
  isotherm hub --ephemeral --mqtts 0 --https 0 --json
  isotherm check deployment.template.json
  isotherm render --platform arm64v8

Exit status: 0 done; 1 it ran and the answer is no; 2 wrong usage; 69 nobody answers there; 78 wrong configuration.";

/// What every verb understands.
#[derive(Debug, Clone, Args)]
pub(crate) struct Manners {
    /// Print one JSON object a line, and nothing else.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Colour on standard output (NO_COLOR is obeyed too).
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub(crate) color: Color,
    /// Where state lives; nothing is written anywhere else [env: ISOTHERM_STATE] [default: .isotherm].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Even into a pipe.
    Always,
    /// Not at all.
    Never,
}

/// How a verb finds the hub it talks to.
#[derive(Debug, Clone, Args)]
pub(crate) struct HubAddress {
    /// The hub, by a connection string of one of its policies; else the one on the state folder [env: ISOTHERM_HUB].
    #[arg(long = "hub", value_name = "CONNECTION_STRING")]
    pub(crate) hub: Option<String>,
    /// Whom to trust there (PEM); else the state folder's own CA, else the system's [env: ISOTHERM_CA].
    #[arg(long = "ca", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

/// One verb, one file.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// A whole site in one process: hub, sensor with an emulated chip, filter.
    Up(UpArgs),
    /// The hub alone, for devices, modules and tests.
    Hub(HubArgs),
    /// One module, with what the environment says.
    Run(RunArgs),
    /// Read or change a twin.
    #[command(subcommand)]
    Twin(TwinVerb),
    /// Call a direct method.
    Method(MethodArgs),
    /// Send a message in the name of a device or a module.
    Send(SendArgs),
    /// See messages, twins, methods and connections as they pass.
    Watch(WatchArgs),
    /// Test a module from outside: this input, that output, within a time.
    Expect(crate::expect::ExpectArgs),
    /// Bring a misfortune about: drop, delay, disconnect, throttle, a full disk.
    #[command(subcommand)]
    Fault(crate::fault::FaultVerb),
    /// See or change how much the hub logs while it runs.
    Log(crate::log::LogArgs),
    /// Play whole sites in virtual time, with kills, cuts and full disks drawn from a seed.
    Simulate(crate::simulate::SimulateArgs),
    /// Check a deployment template without running or writing anything.
    Check(CheckArgs),
    /// Turn a deployment template into the manifest of a platform.
    Render(RenderArgs),
    /// Look at a device before something goes wrong: clock, disk, certificates, ports, bus.
    Doctor(crate::doctor::DoctorArgs),
    /// Measure throughput, latency, CPU and memory, beside other people's programs.
    Bench(crate::bench::BenchArgs),
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// `isotherm up`.
#[derive(Debug, Clone, Args, Default)]
#[command(
    after_help = "Examples:\n  isotherm up --duration 30s\n  isotherm up --replay temps.csv --unit f --speed 100\n  isotherm up --replay temps.csv --speed max --until-end --json"
)]
pub(crate) struct UpArgs {
    /// What runs and how: images, routes, first desired properties.
    #[arg(long, value_name = "FILE")]
    pub(crate) template: Option<PathBuf>,
    /// Variables for the template and the modules.
    #[arg(long, value_name = "FILE")]
    pub(crate) env: Option<PathBuf>,
    /// Feed the emulated chip from a CSV file: the column headed `temp`, a row a reading.
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) replay: Option<PathBuf>,
    /// The unit of that column.
    #[arg(long, value_enum, requires = "replay")]
    pub(crate) unit: Option<Unit>,
    /// Rows a second, or `max`.
    #[arg(long, requires = "replay", value_name = "ROWS_A_SECOND|max", value_parser = speed)]
    pub(crate) speed: Option<String>,
    /// End when the file has been read and all of it is delivered or dropped by rule.
    #[arg(long, requires = "replay")]
    pub(crate) until_end: bool,
    /// End after this time, such as `30s`.
    #[arg(long, value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// The hub's MQTT port; 0: the system chooses.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub(crate) mqtts: u16,
    /// The hub's HTTPS and WebSocket port; 0: the system chooses.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub(crate) https: u16,
    /// Each module as a container of its own, from its image, as IoT Edge would run it.
    #[arg(long, conflicts_with_all = ["replay", "mqtts", "https"])]
    pub(crate) docker: bool,
    /// Whose images `${MODULES.sensor}` means [env: DEFAULT_PLATFORM] [default: amd64].
    #[arg(long, requires = "docker", value_parser = ["amd64", "arm64v8", "arm32v7"])]
    pub(crate) platform: Option<String>,
    /// When images are pulled [default: as imagePullPolicy says: those that are missing].
    #[arg(long, requires = "docker", value_enum)]
    pub(crate) pull: Option<crate::up::Pull>,
    /// The hub's image, in edgeHub's place.
    #[arg(long, requires = "docker", value_name = "IMAGE")]
    pub(crate) hub_image: Option<String>,
}

/// The unit of a CSV's temperatures.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Unit {
    /// Degrees Celsius.
    C,
    /// Degrees Fahrenheit.
    F,
}

/// `isotherm hub`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  isotherm hub\n  isotherm hub --ephemeral --mqtts 0 --https 0 --json\n  isotherm hub --template deployment.template.json --host-name gateway.local --listen 0.0.0.0"
)]
pub(crate) struct HubArgs {
    /// Memory and a temporary folder only, gone at the end.
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// A deployment template: its modules, routes and desired properties.
    #[arg(long, value_name = "FILE")]
    pub(crate) template: Option<PathBuf>,
    /// The name clients know the hub by.
    #[arg(long, default_value = "localhub.azure-devices.net", value_name = "NAME")]
    pub(crate) host_name: String,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) listen: IpAddr,
    /// MQTT over TLS; 0: the system chooses.
    #[arg(long, default_value_t = 8883, value_name = "PORT")]
    pub(crate) mqtts: u16,
    /// AMQP over TLS; 0: the system chooses.
    #[arg(long, default_value_t = 5671, value_name = "PORT")]
    pub(crate) amqps: u16,
    /// REST and WebSocket; 0: the system chooses.
    #[arg(long, default_value_t = 443, value_name = "PORT")]
    pub(crate) https: u16,
    /// A policy's key instead of one drawn at first start; may be given several times.
    #[arg(long = "policy", value_name = "NAME=BASE64KEY", value_parser = policy)]
    pub(crate) policies: Vec<(String, String)>,
    /// Whom to trust for devices' X.509 certificates (PEM); may be given several times.
    #[arg(long = "device-ca", value_name = "FILE")]
    pub(crate) device_ca: Vec<PathBuf>,
    /// Throttle as that tier of IoT Hub does.
    #[arg(long, default_value = "none", value_name = "none|s1", value_parser = ["none", "s1"])]
    pub(crate) quotas: String,
    /// When messages are synced: `batch` (acknowledged means synced) or an interval such as `100ms`.
    #[arg(long, default_value = "batch", value_name = "batch|INTERVAL", value_parser = sync)]
    pub(crate) sync: Sync,
    /// Bytes that the queues may hold together; a deployment's `storeLimits.maxSizeBytes` goes before it.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) store_bytes: Option<u64>,
    /// Bytes that the log of what goes upstream may hold (256 MiB unless said).
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) log_bytes: Option<u64>,
    /// What gives way then: nothing (senders wait), the oldest, or the oldest of the lowest priority.
    #[arg(long, default_value = "refuse", value_name = "POLICY", value_parser = WHEN_FULL)]
    pub(crate) when_full: String,
    /// Routes, into modules or upstream, on which fresh data goes first after an outage; `*` is all of them.
    #[arg(long, value_name = "ROUTE,…", value_delimiter = ',')]
    pub(crate) fresh_first: Vec<String>,
}

/// What may give way when the queues are full.
const WHEN_FULL: [&str; 3] = ["refuse", "drop-oldest", "drop-lowest-priority"];

/// When the hub syncs what it has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Before it acknowledges.
    Batch,
    /// On a timer, after it has acknowledged.
    Every(Duration),
}

/// `isotherm run`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Everything comes from the environment; .env.example lists every variable.")]
pub(crate) struct RunArgs {
    /// Which module.
    #[arg(value_enum)]
    pub(crate) module: Module,
    /// Variables besides those of the environment, which win.
    #[arg(long, value_name = "FILE")]
    pub(crate) env: Option<PathBuf>,
}

/// The modules that `run` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Module {
    /// Reads the chip.
    Sensor,
    /// Forwards what exceeds the threshold.
    Filter,
    /// What they talk to.
    Hub,
}

/// `isotherm twin`.
#[derive(Debug, Clone, Subcommand)]
#[command(
    after_help = "IDENTITY: `filter` (a module of this device), `device` or `device/module`.\n\nExamples:\n  isotherm twin get filter\n  isotherm twin patch filter '{\"TemperatureThreshold\": 30}'\n  isotherm twin watch filter"
)]
pub(crate) enum TwinVerb {
    /// Print the whole twin.
    Get {
        /// Whose.
        identity: String,
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Merge into the desired properties; `null` removes.
    Patch {
        /// Whose.
        identity: String,
        /// The desired properties to merge, as a JSON object; `-` reads it from standard input.
        #[arg(value_name = "JSON")]
        desired: String,
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Print changes as they happen.
    Watch {
        /// Whose.
        identity: String,
        #[command(flatten)]
        hub: HubAddress,
        #[command(flatten)]
        until: Until,
    },
}

/// When a watching verb ends.
#[derive(Debug, Clone, Args)]
pub(crate) struct Until {
    /// End after so many.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// End after this time; with --count: 1 if fewer came.
    #[arg(long, value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
}

/// `isotherm method`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  isotherm method sensor readNow\n  isotherm method edge/filter getStatus --timeout 5s\n\nExit status 1 if the method's own status is 400 or more."
)]
pub(crate) struct MethodArgs {
    /// Whose: `module`, `device` or `device/module`.
    pub(crate) identity: String,
    /// The method's name.
    pub(crate) name: String,
    /// Its payload.
    #[arg(value_name = "JSON")]
    pub(crate) payload: Option<String>,
    /// How long to wait for the answer (5 s to 5 min).
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) hub: HubAddress,
}

/// `isotherm send`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  echo '{\"temp\": 21.5}' | isotherm send sensor --output temperature\n  isotherm send mydevice --property kind=test reading.json"
)]
pub(crate) struct SendArgs {
    /// In whose name: `module`, `device` or `device/module`.
    pub(crate) identity: String,
    /// The module's output.
    #[arg(long, value_name = "NAME")]
    pub(crate) output: Option<String>,
    /// A message property; may be given several times.
    #[arg(long = "property", value_name = "K=V", value_parser = pair)]
    pub(crate) properties: Vec<(String, String)>,
    /// The body; `-` or nothing reads standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) hub: HubAddress,
}

/// `isotherm watch`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  isotherm watch\n  isotherm watch upstream --from earliest --count 640 --timeout 5s --json\n  isotherm watch messages --module sensor"
)]
pub(crate) struct WatchArgs {
    /// What to watch; without it: messages and upstream.
    #[arg(value_enum)]
    pub(crate) kinds: Vec<Kind>,
    /// Where to begin upstream: `earliest`, `latest` or a time.
    #[arg(long, default_value = "latest", value_name = "earliest|latest|TIME", value_parser = from)]
    pub(crate) from: String,
    /// Only what this module sends, gets or is told.
    #[arg(long, value_name = "NAME")]
    pub(crate) module: Option<String>,
    #[command(flatten)]
    pub(crate) until: Until,
    #[command(flatten)]
    pub(crate) hub: HubAddress,
}

/// What can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// What passes between modules.
    Messages,
    /// What leaves for the cloud.
    Upstream,
    /// Changes of twins.
    Twins,
    /// Calls of direct methods and their answers.
    Methods,
    /// Who comes and goes.
    Connections,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Messages => "messages",
            Kind::Upstream => "upstream",
            Kind::Twins => "twins",
            Kind::Methods => "methods",
            Kind::Connections => "connections",
        }
    }
}

/// `isotherm check`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  isotherm check\n  isotherm check site/deployment.template.json --platform arm64v8 --env site/.env\n\nExit status 1 if something is wrong with the template; each mistake is named by its JSON path."
)]
pub(crate) struct CheckArgs {
    /// The template; modules/*/module.json are looked for beside it.
    #[arg(default_value = "deployment.template.json", value_name = "FILE")]
    pub(crate) template: PathBuf,
    /// Which platform's images its placeholders mean [env: DEFAULT_PLATFORM] [default: amd64].
    #[arg(long, value_parser = ["amd64", "arm64v8", "arm32v7"])]
    pub(crate) platform: Option<String>,
    /// Variables for its placeholders, under those of the environment [env: DOTENV_FILE] [default: .env].
    #[arg(long, value_name = "FILE")]
    pub(crate) env: Option<PathBuf>,
}

/// `isotherm render`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  isotherm render\n  isotherm render --platform arm64v8 --out build\n\nWrites config/deployment.<platform>.json, or config/deployment.json for a template without $schema-template, as\niotedgedev does. It holds what .env holds, so only its owner may read it. Exit status 1 if the template is wrong:\nthen nothing is written."
)]
pub(crate) struct RenderArgs {
    #[command(flatten)]
    pub(crate) check: CheckArgs,
    /// Where the manifest goes [env: CONFIG_OUTPUT_DIR] [default: config].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// `1500ms`, `2s`, `5m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    isotherm_host::duration::parse(text)
        .ok_or_else(|| format!("`{text}` is no duration; right would be `1500ms`, `2s`, `5m` or `1h`"))
}

fn sync(text: &str) -> Result<Sync, String> {
    match text {
        "batch" => Ok(Sync::Batch),
        other => match duration(other)? {
            Duration::ZERO => Err("an interval of 0 is `batch`".into()),
            every => Ok(Sync::Every(every)),
        },
    }
}

fn speed(text: &str) -> Result<String, String> {
    let number = text.parse::<f64>().is_ok_and(|rows| rows.is_finite() && rows > 0.0);
    if text == "max" || number {
        Ok(text.to_owned())
    } else {
        Err("rows a second as a number above 0, or `max`".into())
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is no property; right would be `name=value`")),
    }
}

fn policy(text: &str) -> Result<(String, String), String> {
    pair(text).map_err(|_| "right would be `iothubowner=BASE64KEY`".to_owned())
}

fn from(text: &str) -> Result<String, String> {
    match text {
        "earliest" | "latest" => Ok(text.to_owned()),
        time => time
            .parse::<jiff::Timestamp>()
            .map(|time| time.to_string())
            .map_err(|_| "`earliest`, `latest` or a time such as 2026-01-31T12:00:00Z".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read_with_their_unit_and_refused_without() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for wrong in ["", "5", "s", "-1s", "infs", "5 parsecs"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_manners_are_understood_behind_every_verb() {
        for words in
            ["twin patch filter {} --json", "method sensor ping --json", "watch upstream --json", "up --json"]
        {
            let cli = Cli::try_parse_from(["isotherm"].into_iter().chain(words.split(' ')));
            assert!(cli.is_ok_and(|cli| cli.manners.json), "{words}");
        }
    }

    #[test]
    fn without_a_verb_there_is_still_json_and_a_state_folder() {
        let cli = Cli::try_parse_from(["isotherm", "--json", "--state", "/s"]).unwrap();
        assert!(cli.verb.is_none() && cli.manners.json);
        assert_eq!(cli.manners.state, Some(PathBuf::from("/s")));
    }
}
