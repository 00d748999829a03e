//! What the environment says about who to be and whom to speak with.
//!
//! The first of these that is there counts: `BROKER_URL`, `EdgeHubConnectionString`, `IOTEDGE_WORKLOADURI`.

pub(crate) mod broker;

use std::path::Path;

use isotherm_host::{Env, Host, WiringError, tls::ClientIdentity};
use isotherm_iothub::{ConnectionString, Identity};

use crate::{
    ConnectError, Credentials, Custody, Options, Transport, WhenFull,
    options::{MQTTS_PORT, Workload, folder_of},
};

pub(crate) use broker::BrokerOptions;

/// Who speaks with whom.
pub(crate) enum Wiring {
    Hub(Box<Options>),
    Broker(Box<BrokerOptions>),
}

impl Wiring {
    pub(crate) fn from_env(host: &Host) -> Result<Self, ConnectError> {
        let env = &host.env;
        if let Some(url) = env.get("BROKER_URL") {
            return Ok(Self::Broker(Box::new(BrokerOptions::from_env(host, url)?)));
        }
        let mut options = match env.get("EdgeHubConnectionString") {
            Some(text) => from_connection_string(host, text)?,
            None if env.get("IOTEDGE_WORKLOADURI").is_some() => from_edge(env)?,
            None => {
                return Err(WiringError::new(
                    "EdgeHubConnectionString",
                    "is not set; set it to HostName=…;DeviceId=…;ModuleId=…;SharedAccessKey=…, or run where IoT Edge \
                     sets IOTEDGE_WORKLOADURI, or set BROKER_URL to speak with a plain broker",
                )
                .into());
            }
        };
        options.state_dir = host.state_folder().join(folder_of(options.identity.as_str()));
        options.transport = transport(env)?;
        options.amqps_port = env.parse("EdgeHubAmqpsPort")?.unwrap_or(options.amqps_port);
        options.https_port = env.parse("EdgeHubHttpsPort")?.unwrap_or(options.https_port);
        outbox(env, &mut options)?;
        Ok(Self::Hub(Box::new(options)))
    }
}

fn from_connection_string(host: &Host, text: &str) -> Result<Options, WiringError> {
    let wrong = |why: String| WiringError::new("EdgeHubConnectionString", why);
    let connection: ConnectionString = text.parse().map_err(|why| wrong(format!("{why}")))?;
    let identity =
        connection.identity.ok_or_else(|| wrong("says no DeviceId, so nobody can connect".to_owned()))?;
    let credentials = match (connection.key, connection.signature) {
        (Some(key), _) => Credentials::Key(key),
        (None, Some(token)) => Credentials::Token(token),
        (None, None) => Credentials::Certificate(ClientIdentity {
            chain_pem: required_file(host, "X509_CERTIFICATE_FILE")?,
            key_pem: required_file(host, "X509_KEY_FILE")?,
        }),
    };
    let mut options = Options::new(identity, &connection.host_name, credentials);
    options.gateway = connection.gateway_host_name;
    options.roots = file(host, "EdgeModuleCACertificateFile")?;
    Ok(options)
}

fn from_edge(env: &Env) -> Result<Options, WiringError> {
    let scheme = env.get("IOTEDGE_AUTHSCHEME").unwrap_or("sasToken");
    if !scheme.eq_ignore_ascii_case("sasToken") {
        return Err(WiringError::new("IOTEDGE_AUTHSCHEME", format!("{scheme:?} is not known; sasToken is")));
    }
    let device = env.required("IOTEDGE_DEVICEID")?;
    let identity = Identity::module(device, env.required("IOTEDGE_MODULEID")?)
        .map_err(|why| WiringError::new("IOTEDGE_MODULEID", why.to_string()))?;
    let workload = Workload {
        uri: env.required("IOTEDGE_WORKLOADURI")?.to_owned(),
        generation_id: env.required("IOTEDGE_MODULEGENERATIONID")?.to_owned(),
        api_version: env.get("IOTEDGE_APIVERSION").unwrap_or("2018-06-28").to_owned(),
    };
    if !workload.uri.starts_with("unix://") && !workload.uri.starts_with("http://") {
        return Err(WiringError::new(
            "IOTEDGE_WORKLOADURI",
            "is neither unix:///a/path nor http://host:port",
        ));
    }
    let hub = env.required("IOTEDGE_IOTHUBHOSTNAME")?;
    let mut options = Options::new(identity, hub, Credentials::Workload(workload));
    options.gateway = env.get("IOTEDGE_GATEWAYHOSTNAME").map(str::to_owned);
    Ok(options)
}

fn transport(env: &Env) -> Result<Transport, WiringError> {
    let Some(text) = env.get("TransportType") else { return Ok(Transport::default()) };
    text.parse().map_err(|why: String| WiringError::new("TransportType", why))
}

/// What the environment says about the outbox, with a hub or with a broker.
fn outbox(env: &Env, options: &mut Options) -> Result<(), WiringError> {
    let bytes: Option<u64> = env.parse("OUTBOX_BYTES_MAX")?;
    options.outbox_bytes_max = bytes.unwrap_or(options.outbox_bytes_max);
    if options.outbox_bytes_max == 0 {
        return Err(WiringError::new("OUTBOX_BYTES_MAX", "0 leaves no room for a single message"));
    }
    options.when_full = match env.get("OUTBOX_WHEN_FULL") {
        None | Some("drop-oldest") => WhenFull::DropOldest,
        Some("refuse") => WhenFull::Refuse,
        Some(other) => {
            let why = format!("{other:?} is not known; right are drop-oldest and refuse");
            return Err(WiringError::new("OUTBOX_WHEN_FULL", why));
        }
    };
    options.custody = match env.get("OUTBOX") {
        None | Some("disk") => Custody::Disk,
        Some("hand-to-hand") => Custody::HandToHand,
        Some(other) => {
            return Err(WiringError::new(
                "OUTBOX",
                format!("{other:?} is not known; right are disk and hand-to-hand"),
            ));
        }
    };
    Ok(())
}

/// The text of the file that `variable` names, if it is set.
fn file(host: &Host, variable: &str) -> Result<Option<String>, WiringError> {
    let Some(path) = host.env.get(variable) else { return Ok(None) };
    let wrong = |why: String| WiringError::new(variable, format!("{path}: {why}"));
    let bytes = host.disk.read(Path::new(path)).map_err(|error| wrong(error.to_string()))?;
    String::from_utf8(bytes).map(Some).map_err(|_| wrong("is no PEM text".to_owned()))
}

fn required_file(host: &Host, variable: &str) -> Result<String, WiringError> {
    let needed = "is not set, and x509=true in the connection string needs it: the path of a PEM file";
    file(host, variable)?.ok_or_else(|| WiringError::new(variable, needed))
}

/// A host's name and its port, if it carries one: `localhost:18883`, `[::1]:18883`, `hub.azure-devices.net`.
pub(crate) fn split_port(address: &str, default: u16) -> (&str, u16) {
    match address.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            port.parse().map_or((address, default), |port| (name, port))
        }
        _ => (address, default),
    }
}

/// As [`split_port`], with the port of MQTT over TLS.
pub(crate) fn peer(address: &str) -> (&str, u16) {
    split_port(address, MQTTS_PORT)
}

#[cfg(test)]
mod tests;
