//! Hub, sensor and filter as tasks of this process, each with its own environment, talking over loopback.

use std::path::PathBuf;
use std::time::Duration;

use isotherm_host::log::Dial;
use isotherm_host::{Env, Host, Stop, metrics};
use isotherm_hub::{Hub, Options, Ready, Upstream};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time;

use crate::args::{Unit, UpArgs};
use crate::context::Context;
use crate::method;
use crate::output::Failure;
use crate::service::{Request, Service};

/// What `up` runs from where the current folder has no template of its own.
const TEMPLATE: &str = include_str!("../../../../deployment.template.json");
/// The variables beside it.
const ENV_EXAMPLE: &str = include_str!("../../../../.env.example");
/// How long the end waits for what is under way.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);
/// How long a module may take to answer a question of ours.
const ANSWER: Duration = Duration::from_secs(5);

type Module<S> = JoinHandle<anyhow::Result<S>>;

/// A running site.
pub(crate) struct Site {
    pub(crate) hub: Hub,
    pub(crate) service: Service,
    hub_stop: Stop,
    sensor: Part<isotherm_sensor::Totals>,
    filter: Part<isotherm_filter::Status>,
    /// Messages that the site held when it was started.
    carried: u64,
}

/// One module: what it will be started with, then its task.
struct Part<S> {
    host: Host,
    task: Option<Module<S>>,
}

/// What became of the readings of this run.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) sensed: u64,
    /// Readings that the filter judged and this run's sensor did not sense: sent in by others, or left from before.
    pub(crate) elsewhere: u64,
    pub(crate) below: u64,
    pub(crate) forwarded: u64,
    pub(crate) held: u64,
    pub(crate) refused: u64,
    pub(crate) repeats: u64,
    pub(crate) carried: u64,
}

impl Site {
    /// Starts the hub and prepares the modules; they start when somebody watches.
    pub(crate) async fn start(context: &Context, args: &UpArgs) -> Result<Self, Failure> {
        let env = environment(context, args)?;
        let template = template(context, args)?;
        let hub_host = context.host.clone().with_env(env.clone());
        // A view owns the terminal, and neither twin nor hub shall write into it.
        let dial = |name| if context.output.terminal { Dial::Loose } else { Dial::Crate(name) };
        let hub_host = Host { stop: Stop::new(), log: dial("isotherm_hub"), ..hub_host };
        let hub_stop = hub_host.stop.clone();
        metrics::serve(&hub_host).await?;
        let options = Options {
            state: context.state.clone(),
            template: Some(template),
            mqtts: args.mqtts,
            https: args.https,
            amqps: 0,
            upstream: Upstream::from_env(&hub_host.env)?,
            ..Options::default()
        };
        let hub = Hub::start(hub_host, options).await?;
        let service = Service::of_ready(context.host.clone(), hub.ready())?;
        let carried = queued(&service).await?;
        let part = |name: &str, log| {
            module_env(&env, context, hub.ready(), name).map(|env| of_its_own(context, env, log))
        };
        let sensor = part("sensor", dial("isotherm_sensor"))?;
        let filter = part("filter", dial("isotherm_filter"))?;
        Ok(Self {
            service,
            hub_stop,
            sensor: Part { host: sensor, task: None },
            filter: Part { host: filter, task: None },
            carried,
            hub,
        })
    }

    pub(crate) fn start_modules(&mut self) {
        self.filter.task = Some(tokio::spawn(isotherm_filter::serve(self.filter.host.clone())));
        self.sensor.task = Some(tokio::spawn(isotherm_sensor::serve(self.sensor.host.clone())));
    }

    /// Waits for a module that ends by itself, which none should.
    pub(crate) async fn module_ended(&mut self) -> Failure {
        tokio::select! {
            biased;
            failed = self.sensor.ended("sensor") => failed,
            failed = self.filter.ended("filter") => failed,
        }
    }

    /// Whether the file has been read and every reading has gone where it should.
    /// The questions follow the flow, so what one no longer holds the next one has or had.
    pub(crate) async fn is_done(&self) -> Result<bool, Failure> {
        let Some(sensor) = self.status("sensor").await else { return Ok(false) };
        if sensor["finished"] != json!(true) || sensor["held"] != json!(0) || queued(&self.service).await? > 0
        {
            return Ok(false);
        }
        let Some(filter) = self.status("filter").await else { return Ok(false) };
        Ok(filter["held"] == json!(0) && queued(&self.service).await? == 0)
    }

    /// What a module answers to `getStatus`; none while it is not there yet.
    async fn status(&self, module: &str) -> Option<Value> {
        let answer = method::call(&self.service, module, "getStatus", Value::Null, ANSWER).await.ok()?;
        (answer["status"] == json!(200)).then(|| answer["payload"].clone())
    }

    pub(crate) async fn patch_threshold(&self, celsius: f64) -> Result<(), Failure> {
        let body = json!({"properties": {"desired": {"TemperatureThreshold": celsius}}});
        let path = self.service.path("/twins", "filter").await?;
        self.service.json(Request::patch(&path, body)).await.map(|_| ())
    }

    /// Ends the sensor, lets what is under way arrive, ends the filter; the books of all three.
    pub(crate) async fn wind_down(&mut self) -> Accounts {
        let sensor = self.sensor.end().await.unwrap_or_default();
        let _ = time::timeout(PATIENCE, self.drained()).await;
        let filter = self.filter.end().await.unwrap_or_default();
        let queued = queued(&self.service).await.unwrap_or_default();
        let judged = filter.forwarded + filter.below;
        Accounts {
            sensed: sensor.sensed,
            elsewhere: (judged + sensor.held + queued).saturating_sub(sensor.sensed),
            below: filter.below,
            forwarded: filter.forwarded.saturating_sub(filter.held),
            held: sensor.held + queued + filter.held,
            refused: sensor.refused + filter.refused,
            repeats: filter.repeats,
            carried: self.carried,
        }
    }

    async fn drained(&self) {
        loop {
            if queued(&self.service).await.is_ok_and(|queued| queued == 0)
                && self.status("filter").await.is_none_or(|filter| filter["held"] == json!(0))
                && queued(&self.service).await.is_ok_and(|queued| queued == 0)
            {
                return;
            }
            time::sleep(LOOK).await;
        }
    }

    /// Ends the hub: connections closed, everything synced.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        self.hub_stop.stop();
        Ok(self.hub.closed().await?)
    }
}

impl<S> Part<S> {
    async fn ended(&mut self, name: &str) -> Failure {
        let Some(task) = &mut self.task else { return std::future::pending().await };
        let ended = task.await;
        self.task = None;
        match ended {
            Ok(Ok(_)) => Failure::No(format!("{name} ended by itself")),
            Ok(Err(error)) => match Failure::from(error) {
                Failure::Configuration(what) => Failure::Configuration(format!("{name}: {what}")),
                other => other,
            },
            Err(panic) => Failure::No(format!("{name}: {panic}")),
        }
    }

    /// Tells it to stop and waits for its last word.
    async fn end(&mut self) -> Option<S> {
        self.host.stop.stop();
        match self.task.take()?.await {
            Ok(Ok(status)) => Some(status),
            Ok(Err(error)) => {
                tracing::error!(%error, "a module ended with an error");
                None
            }
            Err(_) => None,
        }
    }
}

/// Messages in the hub's queues, those handed out and not accepted yet among them.
async fn queued(service: &Service) -> Result<u64, Failure> {
    let status = service.json(Request::get("/isotherm/v1/status")).await?;
    Ok(status["queued"].as_u64().unwrap_or_default())
}

/// `.env.example` < `.env` < the environment < the flags.
fn environment(context: &Context, args: &UpArgs) -> Result<Env, Failure> {
    let example = Env::from_dotenv(ENV_EXAMPLE).map_err(|wrong| Failure::Configuration(wrong.to_string()))?;
    let mut env = example.overlaid(&context.env_with(args.env.as_deref())?);
    if let Some(file) = &args.replay {
        env.set("SENSOR_CHIP", "replay");
        env.set("SENSOR_REPLAY", file.display().to_string());
        let unit = args.unit.map(|unit| if matches!(unit, Unit::F) { "f" } else { "c" });
        let flags = [("SENSOR_REPLAY_UNIT", unit), ("SENSOR_REPLAY_SPEED", args.speed.as_deref())];
        for (name, value) in flags {
            if let Some(value) = value {
                env.set(name, value);
            }
        }
    }
    Ok(env)
}

/// The template named, or the one in the current folder, or the one built in, written into the state folder.
fn template(context: &Context, args: &UpArgs) -> Result<PathBuf, Failure> {
    let here = PathBuf::from("deployment.template.json");
    match &args.template {
        Some(path) => Ok(path.clone()),
        None if here.exists() => Ok(here),
        None => {
            context.host.disk.create_dir(&context.state)?;
            let path = context.state.join(here);
            context.host.disk.write_atomic(&path, TEMPLATE.as_bytes())?;
            Ok(path)
        }
    }
}

/// What edgeAgent would give a module, for a hub on loopback.
fn module_env(env: &Env, context: &Context, ready: &Ready, name: &str) -> Result<Env, Failure> {
    let string = ready.modules.get(name).ok_or_else(|| {
        Failure::Configuration(format!("the template has no module `{name}`; `up` runs sensor and filter"))
    })?;
    let mut env = env.clone();
    env.set("EdgeHubConnectionString", string);
    env.set("EdgeModuleCACertificateFile", &ready.ca);
    if let Some(amqps) = ready.ports.amqps {
        env.set("EdgeHubAmqpsPort", amqps.to_string());
    }
    env.set("EdgeHubHttpsPort", ready.ports.https.to_string());
    env.set("ISOTHERM_STATE", context.state.display().to_string());
    Ok(env)
}

/// Stopped by us alone, so that the modules end in the order of the flow.
fn of_its_own(context: &Context, env: Env, log: Dial) -> Host {
    Host { stop: Stop::new(), log, ..context.host.clone().with_env(env) }
}
