//! What the engine is told of each container: `createOptions` are the engine's own words, and what edgeAgent adds to
//! them is added here.

use std::path::PathBuf;

use isotherm_iothub::manifest::ModuleSpec;
use serde_json::{Map, Value, json};

/// The name by which modules dial the hub, and its container's.
pub(super) const HUB: &str = "edgeHub";
/// The port of REST and WebSocket in it.
pub(super) const HUB_PORT: &str = "443/tcp";
/// The network that IoT Edge puts its modules into.
pub(super) const NETWORK: &str = "azure-iot-edge";
/// On everything that we made, so that we end nothing that is somebody else's.
pub(super) const LABEL: &str = "isotherm.up";
/// The IoT hub's name.
const HOST_NAME: &str = "localhub.azure-devices.net";
/// The edge device.
const DEVICE: &str = "edge";
/// Which incarnation of each module this is.
const GENERATION: &str = "638000000000000000";
/// Where a module finds its own workload socket.
const SOCKET_FOLDER: &str = "/run/iotedge";

/// What all containers of a device share.
pub(super) struct Device {
    /// What the hub is to apply, on this machine.
    pub(super) template: PathBuf,
    pub(super) log_level: String,
    pub(super) modules: Vec<String>,
}

/// The volume that holds a module's workload socket.
pub(super) fn socket_volume(module: &str) -> String {
    format!("isotherm-socket-{module}")
}

/// The manifest without what a hub need not know: images, environments, credentials.
pub(super) fn for_the_hub(content: &Value) -> Value {
    let mut content = content.clone();
    let agent = &mut content["$edgeAgent"]["properties.desired"];
    if let Some(settings) = agent["runtime"]["settings"].as_object_mut() {
        settings.remove("registryCredentials");
    }
    for module in agent["modules"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(module) = module.as_object_mut() {
            module.remove("env");
        }
    }
    json!({ "modulesContent": content })
}

/// The hub's container.
pub(super) fn hub(image: &str, create_options: Value, device: &Device) -> Value {
    let mut body = create_options;
    let mut binds = vec![
        "isotherm-hub:/state".to_owned(),
        format!("{}:/run/isotherm/deployment.json:ro", device.template.display()),
    ];
    let sockets =
        device.modules.iter().map(|module| format!("{}:{SOCKET_FOLDER}/{module}", socket_volume(module)));
    binds.extend(sockets);
    let variables = [
        ("IOTEDGE_IOTHUBHOSTNAME", HOST_NAME),
        ("IOTEDGE_DEVICEID", DEVICE),
        ("EdgeDeviceHostName", HUB),
        ("HUB_TEMPLATE", "/run/isotherm/deployment.json"),
        ("HUB_WORKLOAD_DIR", SOCKET_FOLDER),
        ("HUB_MODULE_GENERATION_ID", GENERATION),
        ("LOG_LEVEL", &device.log_level),
    ];
    extend(
        &mut body,
        image,
        &binds,
        "always",
        variables.map(|(name, value)| format!("{name}={value}")).to_vec(),
    );
    body["Hostname"] = json!(HUB);
    body["Healthcheck"] = json!({"Test": ["CMD", "/module", "health"], "Interval": 1_000_000_000_u64,
        "Timeout": 4_000_000_000_u64, "Retries": 10});
    body
}

/// A module's container, or the variable that the manifest may not set.
pub(super) fn module(module: &ModuleSpec, restart: &str) -> Result<Value, String> {
    let ours = [
        ("IOTEDGE_WORKLOADURI", format!("unix://{SOCKET_FOLDER}/workload.sock")),
        ("IOTEDGE_AUTHSCHEME", "sasToken".to_owned()),
        ("IOTEDGE_MODULEGENERATIONID", GENERATION.to_owned()),
        ("IOTEDGE_IOTHUBHOSTNAME", HOST_NAME.to_owned()),
        ("IOTEDGE_GATEWAYHOSTNAME", HUB.to_owned()),
        ("IOTEDGE_DEVICEID", DEVICE.to_owned()),
        ("IOTEDGE_MODULEID", module.name.clone()),
        ("IOTEDGE_APIVERSION", "2022-08-03".to_owned()),
    ];
    if let Some((twice, _)) = module.env.iter().find(|(name, _)| ours.iter().any(|(our, _)| our == name)) {
        return Err(twice.clone()); // aziot-edged refuses it too
    }
    let mut variables: Vec<String> =
        module.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    variables.extend(ours.map(|(name, value)| format!("{name}={value}")));
    if !module.env.iter().any(|(name, _)| name == "RuntimeLogLevel") {
        variables.push("RuntimeLogLevel=Information".to_owned());
    }
    let restart = match restart {
        "never" => "no",
        "on-failure" => "on-failure",
        _ => "always", // docker has no word for `on-unhealthy`
    };
    let mut body = module.create_options.clone();
    let binds = [format!("{}:{SOCKET_FOLDER}:ro", socket_volume(&module.name))];
    extend(&mut body, &module.image, &binds, restart, variables);
    Ok(body)
}

/// Adds to `createOptions` what every container gets; what they say already stays.
fn extend(body: &mut Value, image: &str, binds: &[String], restart: &str, variables: Vec<String>) {
    body["Image"] = json!(image);
    push(&mut body["Env"], variables);
    push(&mut body["HostConfig"]["Binds"], binds.to_vec());
    body["HostConfig"]["RestartPolicy"] = json!({ "Name": restart });
    if body["HostConfig"]["LogConfig"].is_null() {
        let options = json!({"max-size": "10m", "max-file": "3"}); // nothing grows without a limit
        body["HostConfig"]["LogConfig"] = json!({"Type": "json-file", "Config": options});
    }
    if body["HostConfig"]["NetworkMode"].is_null() {
        body["HostConfig"]["NetworkMode"] = json!(NETWORK);
        if body["NetworkingConfig"]["EndpointsConfig"][NETWORK].is_null() {
            body["NetworkingConfig"]["EndpointsConfig"][NETWORK] = json!({});
        }
    }
    // The engine publishes only what is exposed, and an image of ours exposes no more than its metrics.
    let published: Vec<String> =
        body["HostConfig"]["PortBindings"].as_object().into_iter().flat_map(Map::keys).cloned().collect();
    for port in published {
        body["ExposedPorts"][port] = json!({});
    }
    body["Labels"][LABEL] = json!("1");
}

fn push(list: &mut Value, more: Vec<String>) {
    let mut all = list.as_array().cloned().unwrap_or_default();
    all.extend(more.into_iter().map(Value::from));
    *list = Value::Array(all);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(env: &[(&str, &str)], create_options: Value) -> ModuleSpec {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (name, image) = ("sensor".to_owned(), "isotherm/sensor:1".to_owned());
        ModuleSpec { name, image, env, create_options, running: true, system: false }
    }

    #[test]
    fn a_module_gets_its_own_options_and_what_edge_agent_adds() {
        let mut options =
            json!({"HostConfig": {"Binds": ["a:/state"], "Devices": [{"PathOnHost": "/dev/i2c-1"}]}});
        options["HostConfig"]["PortBindings"] = json!({"9600/tcp": [{"HostPort": "9600"}]});
        let body = module(&spec(&[("SENSOR_ID", "attic")], options), "on-failure").unwrap();
        assert_eq!(body["ExposedPorts"], json!({"9600/tcp": {}}));
        assert_eq!(
            body["HostConfig"]["Binds"],
            json!(["a:/state", "isotherm-socket-sensor:/run/iotedge:ro"])
        );
        assert_eq!(body["HostConfig"]["Devices"][0]["PathOnHost"], "/dev/i2c-1");
        assert_eq!(body["HostConfig"]["RestartPolicy"]["Name"], "on-failure");
        assert_eq!(body["HostConfig"]["NetworkMode"], NETWORK);
        let variables = body["Env"].as_array().unwrap();
        assert_eq!(variables[0], "SENSOR_ID=attic");
        for wanted in ["IOTEDGE_MODULEID=sensor", "IOTEDGE_WORKLOADURI=unix:///run/iotedge/workload.sock"] {
            assert!(variables.contains(&json!(wanted)), "{wanted}");
        }
    }

    #[test]
    fn a_variable_that_edge_agent_sets_may_not_be_set_in_the_manifest() {
        let twice = module(&spec(&[("IOTEDGE_DEVICEID", "other")], json!({})), "always");
        assert_eq!(twice, Err("IOTEDGE_DEVICEID".to_owned()));
    }

    #[test]
    fn the_hub_is_told_routes_and_twins_and_no_secret() {
        let content = json!({
            "$edgeAgent": {"properties.desired": {
                "runtime": {"settings": {"registryCredentials": {"r": {"password": "hush"}}}},
                "modules": {"sensor": {"env": {"KEY": {"value": "hush"}}}},
            }},
            "$edgeHub": {"properties.desired": {"routes": {"a": "FROM /* INTO $upstream"}}},
        });
        let shown = for_the_hub(&content).to_string();
        assert!(!shown.contains("hush") && shown.contains("$upstream"), "{shown}");
    }
}
