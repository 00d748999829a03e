//! The object that says a hub is ready: where it listens, whom to trust, who may come in. `isotherm hub` prints
//! it, and the state folder keeps it so that other verbs find the hub.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use isotherm_iothub::ConnectionString;
use serde::{Deserialize, Serialize};

use crate::options::Options;
use crate::shared::Shared;
use crate::start::{self, CA_FILE};
use crate::upstream;

/// The file in the state folder that holds the [`Ready`] object of the hub that runs there (0600: it has keys).
pub const READY_FILE: &str = "hub.json";

/// The port that MQTT clients dial unless they are told another.
const MQTTS_PORT: u16 = 8883;
/// The policy that may do everything.
const OWNER: &str = "iothubowner";

/// All that somebody needs to talk to a running hub. Its JSON is a door: names stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// The name in tokens and user names.
    pub host_name: String,
    /// The address listened on.
    pub address: String,
    /// The ports that are open.
    pub ports: Ports,
    /// The file with the authority to trust, PEM.
    pub ca: String,
    /// A connection string for each shared access policy.
    pub policies: BTreeMap<String, String>,
    /// The connection string of the Event Hubs compatible endpoint.
    pub event_hub: String,
    /// A connection string for each module of the edge device. `GatewayHostName` carries `:port` when the MQTT
    /// port is not 8883.
    pub modules: BTreeMap<String, String>,
    /// The workload API's address, `unix:///…/workload.sock`; empty when the path is too long for a socket.
    pub workload: String,
    /// The address of each module's own workload socket, where `HUB_WORKLOAD_DIR` asks for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub workloads: BTreeMap<String, String>,
    /// The edge device whose modules these are.
    pub device_id: String,
    /// The generation id of each module, part of the workload API's paths.
    pub generations: BTreeMap<String, String>,
}

/// The ports that are open. A key is absent while that dialect is not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// MQTT over TLS.
    pub mqtts: u16,
    /// AMQP over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amqps: Option<u16>,
    /// REST, and MQTT and AMQP over WebSocket.
    pub https: u16,
}

/// Describes a hub that listens on these `ports` and has its state in `folder`.
pub(crate) fn describe(shared: &Shared, options: &Options, folder: &Path, ports: Ports) -> Ready {
    let core = shared.core();
    let host_name = &options.host_name;
    let dial = dial_name(shared, options);
    let gateway = if ports.mqtts == MQTTS_PORT { dial.clone() } else { format!("{dial}:{}", ports.mqtts) };
    let policies: BTreeMap<String, String> = core
        .policies()
        .into_iter()
        .map(|(name, key)| {
            let string = ConnectionString::of_policy(host_name, &name, key).to_string();
            (name, string)
        })
        .collect();
    let owner = core.policies().into_iter().find(|(name, _)| name == OWNER).map(|(_, key)| key.to_base64());
    let event_hub = format!(
        "Endpoint=sb://{dial}/;SharedAccessKeyName={OWNER};SharedAccessKey={};EntityPath={}",
        owner.unwrap_or_default(),
        upstream::entity_path(host_name)
    );
    let mut modules = BTreeMap::new();
    let mut generations = BTreeMap::new();
    for who in core.identities() {
        let (Some(module), true) = (who.module_id(), who.device_id() == options.device_id) else { continue };
        if let Some(generation) = core.generation_of(&who) {
            generations.insert(module.to_owned(), generation);
        }
        if let (false, Some(key)) = (module.starts_with('$'), core.key_of(&who)) {
            let mut string = ConnectionString::of_identity(host_name, who.clone(), key);
            string.gateway_host_name = Some(gateway.clone());
            modules.insert(module.to_owned(), string.to_string());
        }
    }
    Ready {
        host_name: host_name.clone(),
        address: options.listen.to_string(),
        ports,
        ca: folder.join(CA_FILE).display().to_string(),
        policies,
        event_hub,
        modules,
        workload: String::new(), // known once it is served
        workloads: BTreeMap::new(),
        device_id: options.device_id.clone(),
        generations,
    }
}

/// The name by which modules dial: one that leads here and that the certificate carries.
fn dial_name(shared: &Shared, options: &Options) -> String {
    if options.listen == Ipv4Addr::LOCALHOST || options.listen == Ipv6Addr::LOCALHOST {
        return "localhost".to_owned();
    }
    if options.listen.is_loopback() {
        return options.listen.to_string(); // one of the others in 127.0.0.0/8, which no name leads to
    }
    let named = options.names.first().cloned().or_else(|| start::machine(&*shared.host.disk));
    named.unwrap_or_else(|| options.listen.to_string())
}
