//! What the site is made of: a deployment template and what each module's environment says.

use std::path::Path;

use isotherm_host::{Chance, Env};
use isotherm_hub::Ready;
use serde_json::{Map, Value, json};

use crate::life::Name;

/// Where everybody's state is, on each one's own disk.
pub(crate) const STATE: &str = "/sim/state";
/// The authority to trust.
const CA: &str = "/sim/ca.pem";
/// The deployment.
pub(crate) const TEMPLATE: &str = "/sim/deployment.template.json";
/// The machine of the hub upstream.
pub(crate) const UPSTREAM: &str = "upstream";
/// The threshold that the filter's twin begins with, °C: not its default, or nobody would see that a filter judges by that.
pub(crate) const THRESHOLD: f64 = 24.0;

/// The deployment template: every sensor leads to the filter and straight upstream, so that there is an account of
/// what the filter should have forwarded.
pub(crate) fn template(sensors: &[Name], chance: &Chance) -> String {
    let mut routes = Map::new();
    let mut contents = Map::new();
    let mut modules = Map::new();
    for name in sensors {
        let from = format!("FROM /messages/modules/{name}/outputs/temperature INTO");
        let input = "BrokeredEndpoint(\"/modules/filter/inputs/temperature\")";
        routes.insert(format!("{name}ToFilter"), json!(format!("{from} {input}")));
        routes.insert(format!("{name}ToUpstream"), json!(format!("{from} $upstream")));
        let interval = format!("{}ms", [500, 1000, 2000][(chance.u64() % 3) as usize]);
        let batch = if chance.u64().is_multiple_of(4) { 5 } else { 1 };
        let desired = json!({"SamplingInterval": interval, "BatchSize": batch, "BatchAge": "3s"});
        contents.insert(name.to_string(), json!({"properties.desired": desired}));
        modules.insert(name.to_string(), module());
    }
    routes.insert("alerts".to_owned(), json!("FROM /messages/modules/filter/outputs/alert INTO $upstream"));
    modules.insert("filter".to_owned(), module());
    contents.insert("filter".to_owned(), json!({"properties.desired": {"TemperatureThreshold": THRESHOLD}}));
    contents.insert("$edgeAgent".to_owned(), agent(modules));
    let ttl = json!({"timeToLiveSecs": 604_800});
    let hub = json!({"schemaVersion": "1.1", "routes": routes, "storeAndForwardConfiguration": ttl});
    contents.insert("$edgeHub".to_owned(), json!({"properties.desired": hub}));
    json!({"$schema-template": "4.0.0", "modulesContent": contents}).to_string()
}

fn module() -> Value {
    let settings = json!({"image": "isotherm", "createOptions": {}});
    json!({"version": "1.0", "type": "docker", "status": "running", "restartPolicy": "always", "settings": settings})
}

fn agent(modules: Map<String, Value>) -> Value {
    let system = |image: &str| json!({"type": "docker", "settings": {"image": image, "createOptions": {}}});
    let mut hub = system("edgeHub");
    hub["status"] = "running".into();
    hub["restartPolicy"] = "always".into();
    let runtime = json!({"type": "docker", "settings": {"minDockerVersion": "v1.25", "loggingOptions": ""}});
    let desired = json!({
        "schemaVersion": "1.1",
        "runtime": runtime,
        "systemModules": {"edgeAgent": system("edgeAgent"), "edgeHub": hub},
        "modules": modules,
    });
    json!({"properties.desired": desired})
}

/// The hub's environment, as in a container; with a hub upstream of it, the way there.
pub(crate) fn hub_env(upstream: Option<&Ready>, chance: &Chance) -> Env {
    let mut env = Env::of([
        ("IOTEDGE_IOTHUBHOSTNAME", "site.azure-devices.net"),
        ("IOTEDGE_DEVICEID", "edge"),
        ("EdgeDeviceHostName", "hub"),
        ("HUB_TEMPLATE", TEMPLATE),
        ("ISOTHERM_STATE", STATE),
    ]);
    if let Some(upstream) = upstream {
        let policy = upstream.policies.get("device").map(String::as_str).unwrap_or_default();
        env.set("UpstreamConnectionString", format!("{policy};GatewayHostName={UPSTREAM}"));
        env.set("UpstreamProtocol", if chance.u64().is_multiple_of(4) { "MqttWs" } else { "Mqtt" });
        env.set("UpstreamCACertificateFile", CA);
    }
    env
}

/// The environment of the hub upstream, for which the site is a device like any other.
pub(crate) fn upstream_env() -> Env {
    Env::of([
        ("IOTEDGE_IOTHUBHOSTNAME", "cloud.azure-devices.net"),
        ("IOTEDGE_DEVICEID", "cloud"),
        ("EdgeDeviceHostName", UPSTREAM),
        ("ISOTHERM_STATE", STATE),
    ])
}

/// A module's environment; its authority is put on its disk.
pub(crate) fn module_env(name: &Name, ready: &Ready, chance: &Chance) -> Env {
    let string = ready.modules.get(&**name).cloned().unwrap_or_default();
    let mut env = Env::of([
        ("EdgeHubConnectionString", string.as_str()),
        ("EdgeModuleCACertificateFile", CA),
        ("ISOTHERM_STATE", STATE),
        ("SENSOR_CHIP", "hwmon"),
        ("SENSOR_HWMON", "/sys/class/hwmon/hwmon0"),
        ("SENSOR_ID", &**name),
    ]);
    if chance.u64().is_multiple_of(4) {
        env.set("TransportType", "Mqtt_WebSocket_Only");
    }
    if &**name == "filter" && chance.u64().is_multiple_of(3) {
        env.set("OUTBOX", "hand-to-hand");
    }
    env
}

/// Where the authority is, on a module's disk.
pub(crate) fn ca() -> &'static Path {
    Path::new(CA)
}
