//! What the environment says about a plain broker.

use isotherm_host::{Env, Host, WiringError};
use isotherm_iothub::Identity;
use serde_json::{Value, json};

use super::{file, outbox};
use crate::{
    ConnectError, Credentials, Options, Transport,
    connection::Target,
    dialect::{Broker, Dialect, amqp::Trunk},
    options::folder_of,
    url::{self, Scheme, Url},
};

/// A broker, what is wanted of it, and what is kept meanwhile.
pub(crate) struct BrokerOptions {
    pub(crate) target: Target,
    /// Only what is said of the outbox and the state folder counts.
    pub(crate) kept: Options,
    /// What a twin would say.
    pub(crate) desired: Option<Value>,
}

impl BrokerOptions {
    pub(crate) fn from_env(host: &Host, url: &str) -> Result<Self, ConnectError> {
        let env = &host.env;
        let Url { tls, user, key, peer, port, .. } =
            url::parse(url, Scheme::Mqtt).map_err(|why| WiringError::new("BROKER_URL", why))?;
        let input = topic(env, "INPUT_TOPIC", true)?;
        let output = topic(env, "OUTPUT_TOPIC", false)?;
        if input.is_none() && output.is_none() {
            return Err(WiringError::new(
                "OUTPUT_TOPIC",
                "is not set, nor is INPUT_TOPIC; one of them is needed",
            )
            .into());
        }
        let client_id = client_id(env, input.as_deref(), output.as_deref());
        let state_dir = host.state_folder().join(folder_of(&client_id));
        let desired = env.get("MODULE_SETTINGS").map(settings).transpose()?;
        let broker = Broker { client_id, user, key, input, output };
        let nobody = Identity::device("broker").expect("a name that is allowed");
        let mut kept = Options::new(nobody, &peer, Credentials::Token(String::new()));
        kept.state_dir = state_dir;
        outbox(env, &mut kept)?;
        let target = Target {
            dialect: Dialect::Broker(broker),
            peer,
            port,
            amqps_port: port,
            https_port: port,
            tls,
            roots: file(host, "BROKER_CA_FILE")?,
            transport: Transport::Mqtt,
            trunk: Trunk::private(),
            window: kept.in_flight_max(),
            batches: false,
            login: None,
        };
        Ok(Self { target, kept, desired })
    }
}

/// The name under which the broker keeps our session: `BROKER_CLIENT_ID`, or one that the topics make, so that it is
/// the same after a restart.
fn client_id(env: &Env, input: Option<&str>, output: Option<&str>) -> String {
    match env.get("BROKER_CLIENT_ID") {
        Some(id) => id.to_owned(),
        None => folder_of(&format!("isotherm-{}-{}", input.unwrap_or_default(), output.unwrap_or_default())),
    }
}

fn topic(env: &Env, variable: &str, wildcards: bool) -> Result<Option<String>, WiringError> {
    let Some(topic) = env.get(variable) else { return Ok(None) };
    if topic.len() > 65_535 || topic.contains('\0') {
        return Err(WiringError::new(variable, "is no MQTT topic: at most 65535 bytes, none of them zero"));
    }
    if !wildcards && topic.contains(['+', '#']) {
        return Err(WiringError::new(
            variable,
            format!("{topic:?} has a wildcard; one cannot publish to that"),
        ));
    }
    Ok(Some(topic.to_owned()))
}

fn settings(text: &str) -> Result<Value, WiringError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(mut desired)) => {
            desired.entry("$version").or_insert(json!(1));
            Ok(Value::Object(desired))
        }
        Ok(_) => Err(WiringError::new(
            "MODULE_SETTINGS",
            "is not a JSON object, such as {\"TemperatureThreshold\": 30}",
        )),
        Err(error) => Err(WiringError::new("MODULE_SETTINGS", format!("is not JSON: {error}"))),
    }
}
