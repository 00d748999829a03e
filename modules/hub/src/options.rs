//! What a hub is told when it starts: the flags of `isotherm hub`, with the defaults they have there.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

pub use crate::store::WhenFull;
use crate::upstream::Upstream;

/// The flags of `isotherm hub`. `Options::default()` is the hub that `isotherm hub` starts without any.
#[derive(Debug, Clone)]
pub struct Options {
    /// Keep everything in memory; a temporary folder holds `ca.pem` and the workload socket and goes at the end.
    pub ephemeral: bool,
    /// The state folder (0700). Ignored when `ephemeral`.
    pub state: PathBuf,
    /// A deployment template, applied at start when it is not the one that was applied last.
    pub template: Option<PathBuf>,
    /// The name the hub goes by in tokens and user names, as `{name}.azure-devices.net` does in the cloud.
    pub host_name: String,
    /// The edge device whose modules this hub serves.
    pub device_id: String,
    /// Further names that the server certificate carries and tokens may be made out for, the gateway's for one. The
    /// first is the one that modules are told to dial.
    pub names: Vec<String>,
    /// The address to listen on.
    pub listen: IpAddr,
    /// Port of MQTT over TLS; 0 lets the system choose.
    pub mqtts: u16,
    /// Port of AMQP over TLS; 0 lets the system choose.
    pub amqps: u16,
    /// Port of REST and WebSocket; 0 lets the system choose.
    pub https: u16,
    /// Keys (base64) of shared access policies; a policy not named here keeps the key drawn at first start.
    pub policies: Vec<(String, String)>,
    /// PEM files of authorities trusted for devices' X.509 certificates.
    pub device_ca: Vec<PathBuf>,
    /// Which of the cloud's quotas are enforced.
    pub quotas: Quotas,
    /// When what was accepted is synced to disk.
    pub sync: SyncWhen,
    /// Bytes that the queues may hold together; `None`: a gibibyte, or what a deployment's `storeLimits` say.
    pub store_bytes: Option<u64>,
    /// Bytes that the upstream log may hold; `None`: 256 MiB.
    pub log_bytes: Option<u64>,
    /// What gives way then.
    pub when_full: WhenFull,
    /// Names of routes on which fresh data goes first after an outage, into modules and upstream; `*` is all of them.
    pub fresh_first: Vec<String>,
    /// Where each module of the edge device finds a workload socket of its own, `{folder}/{module}/workload.sock`.
    pub workload_dir: Option<PathBuf>,
    /// The generation id that modules of the edge device get when they are made, so that it is known before the hub
    /// has started; none: drawn from the time, and another one each time.
    pub module_generation: Option<u64>,
    /// Where what reaches `$upstream` goes on to; nowhere: it stays in the hub's own log.
    pub upstream: Option<Upstream>,
}

/// Which of the cloud's daily and per-second quotas are enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Quotas {
    /// None: sizes and queue lengths are limited, rates are not.
    #[default]
    None,
    /// Those of one S1 unit.
    S1,
}

/// When what was accepted is synced to disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SyncWhen {
    /// Before it is acknowledged, together with all that came meanwhile.
    #[default]
    Batch,
    /// At this interval: acknowledgements do not wait for it, a power cut may cost that much.
    Interval(Duration),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ephemeral: false,
            state: PathBuf::from(".isotherm"),
            template: None,
            host_name: "localhub.azure-devices.net".to_owned(),
            device_id: "edge".to_owned(),
            names: Vec::new(),
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            mqtts: 8883,
            amqps: 5671,
            https: 443,
            policies: Vec::new(),
            device_ca: Vec::new(),
            quotas: Quotas::None,
            sync: SyncWhen::Batch,
            store_bytes: None,
            log_bytes: None,
            when_full: WhenFull::Refuse,
            fresh_first: Vec::new(),
            workload_dir: None,
            module_generation: None,
            upstream: None,
        }
    }
}
