//! Somebody far away: reads what arrives upstream, and changes twins.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use isotherm_host::{Host, http};
use isotherm_hub::Ready;
use isotherm_iothub::{ConnectionString, Token};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::ledger::Ledger;
use crate::life::Name;

/// A token that no jump of the site's clock makes old: what is tested here is the site.
const TOKEN_LIFE: i64 = 20 * 365 * 86_400;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);
/// A watch that is silent for so long (the hub says something every 15 s) is begun anew.
const SILENCE: Duration = Duration::from_secs(40);
/// How long to wait before something is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// The version of the service API.
const API: &str = "api-version=2021-04-12";

/// Who comes in by a policy.
#[derive(Debug)]
pub(crate) struct Cloud {
    host: Host,
    hub: String,
    policy: ConnectionString,
    ledger: Arc<Ledger>,
}

impl Cloud {
    /// With the policy that may do everything.
    pub(crate) fn new(host: Host, ready: &Ready, hub: &str, ledger: Arc<Ledger>) -> anyhow::Result<Self> {
        let owner = ready.policies.get("iothubowner");
        let policy = owner.ok_or_else(|| anyhow::anyhow!("the hub has no policy iothubowner"))?.parse();
        let policy = policy.map_err(|refused| anyhow::anyhow!("iothubowner: {refused}"))?;
        Ok(Self { host, hub: hub.to_owned(), policy, ledger })
    }

    fn token(&self) -> io::Result<String> {
        let (Some(key), Some(name)) = (&self.policy.key, &self.policy.key_name) else {
            return Err(io::Error::other("the policy has no key"));
        };
        Ok(Token::mint(key, &self.policy.host_name, self.host.wall().as_second() + TOKEN_LIFE, Some(name)))
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> io::Result<Value> {
        let asked = async {
            let stream = self.host.network.dial(&self.hub, 443).await?;
            let token = self.token()?;
            let headers = [
                ("host", &*self.policy.host_name),
                ("authorization", &*token),
                ("content-type", "application/json"),
            ];
            let body = if body.is_null() { String::new() } else { body.to_string() };
            http::request(stream, method, path, &headers, body).await
        };
        let answer = timeout(ANSWER, asked).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        match answer.status {
            200..300 => Ok(serde_json::from_slice(&answer.body).unwrap_or_default()),
            status => Err(io::Error::other(format!("{status} {}", String::from_utf8_lossy(&answer.body)))),
        }
    }

    /// Makes these modules of the site known to a hub that has not heard of them, however often it takes.
    pub(crate) async fn make_known(&self, modules: &[Name]) {
        let mut paths = vec!["/devices/edge".to_owned()];
        paths.extend(modules.iter().map(|module| format!("/devices/edge/modules/{module}")));
        for (path, module) in paths.iter().zip([None].into_iter().chain(modules.iter().map(Some))) {
            let mut body = json!({"deviceId": "edge"});
            if let Some(module) = module {
                body["moduleId"] = json!(&**module);
            }
            let path = format!("{path}?{API}");
            while self.call("PUT", &path, body.clone()).await.is_err()
                && self.call("GET", &path, Value::Null).await.is_err()
            {
                sleep(AGAIN).await;
            }
        }
    }

    /// Has the filter's twin desire this threshold, however often it takes.
    pub(crate) async fn desire(&self, celsius: f64) {
        self.ledger.books().desired(celsius); // it may count from the first attempt on
        let patch = json!({"properties": {"desired": {"TemperatureThreshold": celsius}}});
        while self.call("PATCH", &format!("/twins/edge/modules/filter?{API}"), patch.clone()).await.is_err() {
            sleep(AGAIN).await;
        }
    }

    /// What the filter says is in force, and what is desired of it.
    pub(crate) async fn thresholds(&self) -> io::Result<(Option<f64>, Option<f64>)> {
        let twin = self.call("GET", &format!("/twins/edge/modules/filter?{API}"), Value::Null).await?;
        let properties = &twin["properties"];
        let reported = properties["reported"]["TemperatureThreshold"]["value"].as_f64();
        Ok((reported, properties["desired"]["TemperatureThreshold"].as_f64()))
    }

    /// What the hub says about itself.
    pub(crate) async fn status(&self) -> io::Result<Value> {
        self.call("GET", &format!("/isotherm/v1/status?{API}"), Value::Null).await
    }

    /// Reads all that arrives, for ever.
    pub(crate) async fn watch(&self) {
        loop {
            let _ = self.read(|_| false).await; // whatever it was, it is read again
            sleep(AGAIN).await;
        }
    }

    /// Reads the log once more, until all that was ever seen was seen again.
    pub(crate) async fn read_again(&self) -> io::Result<()> {
        let mut left = self.ledger.books().seen();
        let done = |line: &str| {
            if let Ok(event) = serde_json::from_str::<Value>(line) {
                count_down(&mut left, &event);
            }
            left.values().all(|left| *left == 0)
        };
        timeout(ANSWER, self.read(done)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn read(&self, mut done: impl FnMut(&str) -> bool) -> io::Result<()> {
        let opened = async {
            let stream = self.host.network.dial(&self.hub, 443).await?;
            let token = self.token()?;
            let headers = [("host", &*self.policy.host_name), ("authorization", &*token)];
            let path = format!("/isotherm/v1/watch?kinds=upstream&from=earliest&{API}");
            http::lines(stream, "GET", &path, &headers, "").await
        };
        let mut lines =
            timeout(ANSWER, opened).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if lines.head.status != 200 {
            return Err(io::Error::other(format!("the watch answers {}", lines.head.status)));
        }
        loop {
            match timeout(SILENCE, lines.next()).await {
                Ok(Ok(Some(line))) => {
                    self.ledger.books().arrived(&line);
                    if done(&line) {
                        return Ok(());
                    }
                }
                Ok(Ok(None)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }
}

fn count_down(left: &mut BTreeMap<u64, usize>, event: &Value) {
    if let Some(partition) = event["partition"].as_u64()
        && let Some(left) = left.get_mut(&partition)
    {
        *left = left.saturating_sub(1);
    }
}
