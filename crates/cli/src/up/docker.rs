//! `isotherm up --docker`: the manifest's modules as containers of their own, as IoT Edge would run them, with our hub
//! in edgeHub's place. Ends them again at Ctrl-C; what they keep stays in their volumes.

mod body;
mod engine;

use std::path::PathBuf;
use std::time::Duration;

use isotherm_hub::Ready;
use isotherm_iothub::manifest::{Images, ModuleSpec};
use isotherm_iothub::{ConnectionString, Template};
use serde_json::{Value, json};
use tokio::time;

use crate::args::{CheckArgs, UpArgs};
use crate::context::Context;
use crate::output::Failure;
use crate::render;

use body::{Device, HUB, HUB_PORT};
pub(crate) use engine::Pull;

use engine::Engine;

/// How long the hub may take to be healthy.
const HUB_HEALTHY_WITHIN: Duration = Duration::from_secs(60);
/// How often is looked whether it is, and what has become of the containers.
const LOOK: Duration = Duration::from_millis(500);

/// What runs, in the order in which it is started.
struct Site {
    hub: Value,
    modules: Vec<(String, Value)>,
    /// Which image each container needs, and whether it may be pulled.
    images: Vec<(String, Pull)>,
    device: Device,
}

/// Does the verb.
pub(crate) async fn up(context: &Context, args: &UpArgs) -> Result<(), Failure> {
    context.log("info")?;
    let site = site(context, args)?;
    let engine = Engine::open(context).await?;
    context.stop_on_signals(&context.host.stop)?;
    for (image, pull) in &site.images {
        engine.have(image, args.pull.unwrap_or(*pull)).await?;
    }
    engine.prepare(&site.device).await?;
    let mut started = Vec::new();
    let ran = run(context, args, &site, &engine, &mut started).await;
    let ended = engine.end(&started).await;
    ran.and(ended)
}

async fn run(
    context: &Context,
    args: &UpArgs,
    site: &Site,
    engine: &Engine,
    started: &mut Vec<String>,
) -> Result<(), Failure> {
    let stop = &context.host.stop;
    let begun = context.host.now();
    start(engine, HUB, &site.hub, started).await?;
    tokio::select! {
        biased;
        () = stop.stopped() => return Ok(()),
        healthy = time::timeout(HUB_HEALTHY_WITHIN, healthy(engine)) => {
            healthy.map_err(|_| Failure::No("the hub is not healthy after a minute; its log says why".to_owned()))??;
        }
    }
    for (name, body) in &site.modules {
        start(engine, name, body, started).await?;
    }
    let logs = started.iter().map(|name| engine.logs(name)).collect::<Result<Vec<_>, _>>()?;
    say_ready(context, engine, begun).await?;
    let follow = follow(context, engine, started);
    let deadline = async {
        match args.duration {
            Some(duration) => time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let followed = tokio::select! {
        biased;
        () = stop.stopped() => Ok(()),
        () = deadline => Ok(()),
        failed = follow => failed,
    };
    drop(logs);
    followed
}

async fn start(engine: &Engine, name: &str, body: &Value, started: &mut Vec<String>) -> Result<(), Failure> {
    engine.create(name, body).await?;
    started.push(name.to_owned());
    engine.docker(&["start", name]).await.map(drop)
}

async fn healthy(engine: &Engine) -> Result<(), Failure> {
    loop {
        let state = engine.docker(&["inspect", "-f", "{{.State.Health.Status}}", HUB]).await?;
        if state.trim() == "healthy" {
            return Ok(());
        }
        time::sleep(LOOK).await;
    }
}

/// Tells how each container fares, whenever that changes.
async fn follow(context: &Context, engine: &Engine, started: &[String]) -> Result<(), Failure> {
    let mut known = vec![String::new(); started.len()];
    loop {
        for (name, known) in started.iter().zip(&mut known) {
            let format = "{{.State.Status}}|{{.RestartCount}}|{{.State.ExitCode}}|{{.State.OOMKilled}}";
            let state = engine.docker(&["inspect", "-f", format, name]).await?.trim().to_owned();
            if state != *known {
                let parts: Vec<&str> = state.split('|').collect();
                let [status, restarts, code, oom] = parts[..] else { continue };
                let number = |text: &str| text.parse::<i64>().unwrap_or_default();
                let event = json!({"event": "module", "name": name, "status": status, "restarts": number(restarts),
                    "exitCode": number(code), "outOfMemory": oom == "true"});
                context.output.say(&event, format!("{name}: {status}, started again {restarts} times"))?;
                *known = state;
            }
        }
        time::sleep(LOOK).await;
    }
}

/// The hub's own ready object, with an address that leads there from this machine.
async fn say_ready(context: &Context, engine: &Engine, begun: std::time::Instant) -> Result<(), Failure> {
    let text = engine.hub_file("hub.json").await?;
    let ready: Ready = serde_json::from_str(&text)
        .map_err(|error| Failure::No(format!("the hub's ready object: {error}")))?;
    let folder = context.state.join("docker");
    context.host.disk.create_dir(&folder)?;
    let ca = folder.join("ca.pem");
    context.host.disk.write_atomic(&ca, engine.hub_file("ca.pem").await?.as_bytes())?;
    let published = engine.docker(&["port", HUB, HUB_PORT]).await.unwrap_or_default();
    let port = published.lines().next().and_then(|line| line.trim().rsplit_once(':')).map(|(_, port)| port);
    let elapsed = context.host.now().duration_since(begun).as_millis();
    let address = port.map(|port| -> Result<String, Failure> {
        let owner = ready.policies.get("iothubowner").map(String::as_str).unwrap_or_default();
        let mut owner: ConnectionString =
            owner.parse().map_err(|why| Failure::No(format!("the hub's connection string: {why}")))?;
        owner.gateway_host_name = Some(format!("127.0.0.1:{port}"));
        Ok(owner.to_string())
    });
    let hub = address.transpose()?;
    let event = json!({"event": "ready", "elapsedMs": u64::try_from(elapsed).unwrap_or(u64::MAX), "hub": hub,
        "ca": ca.display().to_string()});
    let way = match &hub {
        Some(_) => {
            format!("`isotherm watch upstream --hub … --ca {}`: --json says the hub's string", ca.display())
        }
        None => "publish edgeHub's port 443 in its createOptions to look into it from here".to_owned(),
    };
    Ok(context.output.say(&event, format!("ready after {elapsed} ms; {way}; Ctrl-C ends it"))?)
}

/// What the template says is to run.
fn site(context: &Context, args: &UpArgs) -> Result<Site, Failure> {
    let template = args.template.clone().unwrap_or_else(|| PathBuf::from("deployment.template.json"));
    let platform = args.platform.clone();
    let check = CheckArgs { template: template.clone(), platform, env: args.env.clone() };
    let right = render::read(context, &check, Images::Named)?;
    let manifest = right.rendered.manifest;
    let parsed = Template::parse(&manifest, &|_| None).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::Configuration(format!("{}: {}", template.display(), problems.join("; ")))
    })?;
    let agent = &parsed.content()["$edgeAgent"]["properties.desired"];
    let folder = context.state.join("docker");
    context.host.disk.create_dir(&folder)?;
    let shown = folder.join("deployment.json");
    write_for_all(&shown, &body::for_the_hub(parsed.content()))?;
    let device = Device {
        template: std::path::absolute(&shown)?,
        log_level: context.host.env.get("LOG_LEVEL").unwrap_or("info").to_owned(),
        modules: parsed.modules().map(|module| module.name.clone()).collect(),
    };
    let image = args
        .hub_image
        .clone()
        .unwrap_or_else(|| format!("isotherm/hub:{}-{}", env!("CARGO_PKG_VERSION"), right.platform));
    let mut images = vec![(image.clone(), Pull::Missing)];
    let mut modules = Vec::new();
    for module in parsed.modules().filter(|module| module.running) {
        let said = &agent["modules"][module.name.as_str()];
        images.push((module.image.clone(), Pull::of_manifest(&said["imagePullPolicy"])));
        let order = said["startupOrder"].as_u64().unwrap_or(u64::from(u32::MAX));
        modules.push((order, module.name.clone(), container(module, said)?));
    }
    modules.sort_by_key(|(order, ..)| *order);
    let edge_hub = parsed
        .system_modules()
        .find(|module| module.name == HUB)
        .map(|hub| hub.create_options.clone())
        .unwrap_or(json!({}));
    let hub = body::hub(&image, edge_hub, &device);
    let modules = modules.into_iter().map(|(_, name, body)| (name, body)).collect();
    Ok(Site { hub, modules, images, device })
}

fn container(module: &ModuleSpec, said: &Value) -> Result<Value, Failure> {
    body::module(module, said["restartPolicy"].as_str().unwrap_or("always")).map_err(|name| {
        Failure::Configuration(format!(
            "modulesContent.$edgeAgent.properties.desired.modules.{}.env.{name}: edgeAgent sets this variable itself; \
             leave it out",
            module.name
        ))
    })
}

/// For the hub's user, who is somebody else; there is no secret in it.
fn write_for_all(path: &std::path::Path, content: &Value) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, content.to_string())?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))?)
}
