//! What the environment says, when the hub runs as a module in a container.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use isotherm_host::{Env, WiringError, duration};

use crate::options::{Options, Quotas, SyncWhen, WhenFull};
use crate::upstream::Upstream;

/// The variables that the hub reads, for `.env.example`.
pub const VARIABLES: &[&str] = &[
    "IOTEDGE_IOTHUBHOSTNAME",
    "IOTEDGE_DEVICEID",
    "EdgeDeviceHostName",
    "HUB_LISTEN",
    "HUB_MQTTS_PORT",
    "HUB_AMQPS_PORT",
    "HUB_HTTPS_PORT",
    "HUB_TEMPLATE",
    "HUB_DEVICE_CA",
    "HUB_QUOTAS",
    "HUB_SYNC",
    "HUB_WORKLOAD_DIR",
    "HUB_MODULE_GENERATION_ID",
    "UpstreamConnectionString",
    "UpstreamProtocol",
    "UpstreamCACertificateFile",
    "UpstreamTopic",
    "UpstreamBody",
    "UpstreamBatch",
    "ISOTHERM_STATE",
];

/// The options that the environment stands for. A container's hub listens on every address unless told otherwise:
/// the container's network decides who can reach it.
pub(crate) fn options(env: &Env) -> Result<Options, WiringError> {
    let mut options = Options { listen: IpAddr::V4(Ipv4Addr::UNSPECIFIED), ..Options::default() };
    let text = |name| env.get(name).map(str::to_owned);
    options.host_name = text("IOTEDGE_IOTHUBHOSTNAME").unwrap_or(options.host_name);
    options.device_id = text("IOTEDGE_DEVICEID").unwrap_or(options.device_id);
    options.names.extend(text("EdgeDeviceHostName"));
    options.listen = env.parse("HUB_LISTEN")?.unwrap_or(options.listen);
    options.mqtts = port(env, "HUB_MQTTS_PORT")?.unwrap_or(options.mqtts);
    options.amqps = port(env, "HUB_AMQPS_PORT")?.unwrap_or(options.amqps);
    options.https = port(env, "HUB_HTTPS_PORT")?.unwrap_or(options.https);
    options.template = text("HUB_TEMPLATE").map(PathBuf::from);
    if let Some(files) = env.get("HUB_DEVICE_CA") {
        options.device_ca = files.split(':').map(PathBuf::from).collect();
    }
    options.quotas = match env.get("HUB_QUOTAS") {
        None | Some("none") => Quotas::None,
        Some("s1") => Quotas::S1,
        Some(other) => {
            return Err(WiringError::new("HUB_QUOTAS", format!("{other:?} is neither none nor s1")));
        }
    };
    options.sync = match env.get("HUB_SYNC") {
        None | Some("batch") => SyncWhen::Batch,
        Some(text) => SyncWhen::Interval(interval(text)?),
    };
    options.store_bytes = env.parse("HUB_STORE_BYTES")?;
    options.log_bytes = env.parse("HUB_LOG_BYTES")?;
    options.when_full = match env.get("HUB_WHEN_FULL") {
        None | Some("refuse") => WhenFull::Refuse,
        Some("drop-oldest") => WhenFull::DropOldest,
        Some("drop-lowest-priority") => WhenFull::DropLowestPriority,
        Some(other) => {
            let why = format!("{other:?} is none of refuse, drop-oldest, drop-lowest-priority");
            return Err(WiringError::new("HUB_WHEN_FULL", why));
        }
    };
    if let Some(routes) = env.get("HUB_FRESH_FIRST") {
        options.fresh_first = routes.split(',').map(|name| name.trim().to_owned()).collect();
    }
    options.workload_dir = text("HUB_WORKLOAD_DIR").map(PathBuf::from);
    options.module_generation = env.parse("HUB_MODULE_GENERATION_ID")?;
    options.state = text("ISOTHERM_STATE").map_or(options.state, PathBuf::from);
    options.upstream = Upstream::from_env(env)?;
    Ok(options)
}

fn port(env: &Env, name: &str) -> Result<Option<u16>, WiringError> {
    let wrong =
        |text: &str| WiringError::new(name, format!("{text:?} is no port; it is a number from 0 to 65535"));
    env.get(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
}

fn interval(text: &str) -> Result<Duration, WiringError> {
    duration::parse(text).filter(|interval| !interval.is_zero()).ok_or_else(|| {
        WiringError::new("HUB_SYNC", format!("{text:?} is neither batch nor an interval such as 100ms"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_environment_gives_the_usual_hub_on_every_address() {
        let options = options(&Env::default()).unwrap();
        assert_eq!((options.mqtts, options.https), (8883, 443));
        assert!(options.listen.is_unspecified());
    }

    #[test]
    fn a_wrong_variable_is_named_with_what_would_be_right() {
        let error = options(&Env::of([("HUB_SYNC", "often")])).unwrap_err();
        assert!(error.to_string().contains("HUB_SYNC") && error.to_string().contains("100ms"), "{error}");
        let error = options(&Env::of([("HUB_MQTTS_PORT", "70000")])).unwrap_err();
        assert_eq!(error.to_string(), "HUB_MQTTS_PORT: \"70000\" is no port; it is a number from 0 to 65535");
    }
}
