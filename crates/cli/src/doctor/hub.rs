//! The hub's own ports, or the way to a hub that is elsewhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use isotherm_host::{Host, http};
use isotherm_hub::READY_FILE;
use isotherm_iothub::ConnectionString;
use tokio::time::timeout;

use super::Finding;

/// How long somebody may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// What the hub listens on: variable, usual port.
const PORTS: [(&str, u16); 3] = [("HUB_MQTTS_PORT", 8883), ("HUB_AMQPS_PORT", 5671), ("HUB_HTTPS_PORT", 443)];

/// A module's environment says where its hub is; else the hub is to run here.
pub(super) async fn look(host: &Host, state: &Path) -> Vec<Finding> {
    if let Some(text) = host.env.get("EdgeHubConnectionString") {
        return vec![by_string(host, text).await];
    }
    if let Some(uri) = host.env.get("IOTEDGE_WORKLOADURI") {
        let gateway = host.env.get("IOTEDGE_GATEWAYHOSTNAME").or(host.env.get("IOTEDGE_IOTHUBHOSTNAME"));
        return vec![workload(host, uri).await, reach(host, gateway.unwrap_or_default()).await];
    }
    ports(host, state).await
}

async fn by_string(host: &Host, text: &str) -> Finding {
    match text.parse::<ConnectionString>() {
        Err(why) => Finding::problem("hub", format!("EdgeHubConnectionString: {why}")),
        Ok(connection) => {
            reach(host, connection.gateway_host_name.as_deref().unwrap_or(&connection.host_name)).await
        }
    }
}

/// Whether somebody answers where the hub is to be.
async fn reach(host: &Host, address: &str) -> Finding {
    if address.is_empty() {
        return Finding::problem(
            "hub",
            "IOTEDGE_GATEWAYHOSTNAME is not set, so nobody knows where the hub is",
        );
    }
    let (name, port) = match address.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => (name, port.parse().unwrap_or(PORTS[0].1)),
        _ => (address, PORTS[0].1),
    };
    match timeout(ANSWER_WITHIN, host.network.dial(name, port)).await {
        Ok(Ok(_)) => Finding::ok("hub", format!("{name}:{port} answers")),
        Ok(Err(error)) => Finding::problem("hub", format!("{error}")),
        Err(_) => Finding::problem("hub", format!("{name}:{port} does not answer; a firewall in between?")),
    }
}

/// Whether the workload API answers, and may be asked by us.
async fn workload(host: &Host, uri: &str) -> Finding {
    let Some(path) = uri.strip_prefix("unix://") else {
        return Finding::ok("workload", format!("{uri} is no Unix socket and is not looked at"));
    };
    let ask = async {
        let stream = host.network.dial_unix(Path::new(path)).await?;
        http::request(stream, "GET", "/trust-bundle?api-version=2018-06-28", &[], "").await
    };
    match timeout(ANSWER_WITHIN, ask).await {
        Ok(Ok(answer)) if answer.status == 200 => Finding::ok("workload", format!("{path} answers")),
        Ok(Ok(answer)) => Finding::problem("workload", format!("{path} answers {}", answer.status)),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let why = "it must belong to the user that the module runs as";
            Finding::problem("workload", format!("{error}; {why}"))
        }
        Ok(Err(error)) => Finding::problem("workload", format!("{error}; is the hub, or IoT Edge, running?")),
        Err(_) => Finding::problem("workload", format!("{path} does not answer")),
    }
}

/// Whether the hub's ports are free, or are the running hub's.
async fn ports(host: &Host, state: &Path) -> Vec<Finding> {
    if state.join(READY_FILE).exists() {
        return vec![Finding::ok("ports", format!("a hub runs on {}", state.display()))];
    }
    let listen = host.env.parse("HUB_LISTEN").map(|said| said.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    let listen = match listen {
        Ok(listen) => listen,
        Err(wrong) => return vec![Finding::problem("ports", wrong.to_string())],
    };
    let mut findings = Vec::new();
    for (name, usual) in PORTS {
        findings.push(match host.env.parse(name) {
            Err(wrong) => Finding::problem("ports", wrong.to_string()),
            Ok(port) => port_is_free(host, name, SocketAddr::new(listen, port.unwrap_or(usual))).await,
        });
    }
    findings
}

async fn port_is_free(host: &Host, name: &str, address: SocketAddr) -> Finding {
    match host.network.listen(address).await {
        Ok(_) => Finding::ok("ports", format!("{address} is free")),
        Err(error) => Finding::problem("ports", format!("{error}; {name} names another")),
    }
}
