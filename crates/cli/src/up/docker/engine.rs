//! The container engine, by docker's own command line; only the creation of a container goes to its API directly,
//! whose words `createOptions` are.

use std::path::PathBuf;
use std::process::Stdio;

use clap::ValueEnum;
use isotherm_host::{Host, http};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::context::Context;
use crate::output::Failure;

use super::body::{Device, HUB, LABEL, NETWORK, socket_volume};

/// Where the engine listens unless `DOCKER_HOST` says otherwise.
const SOCKET: &str = "/var/run/docker.sock";
/// The oldest version of the API that has all we ask for: docker 18.06.
const API: &str = "v1.38";

/// Whether an image may be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    /// Always, as edgeAgent does at each creation.
    Always,
    /// Where it is not here yet.
    Missing,
    /// Never.
    Never,
}

impl Pull {
    /// What the manifest says. `on-create` takes an image that is here: it may have just been built.
    pub(super) fn of_manifest(policy: &Value) -> Self {
        if policy == "never" { Pull::Never } else { Pull::Missing }
    }
}

/// An engine that answers.
pub(super) struct Engine {
    host: Host,
    socket: PathBuf,
}

/// Prints a container's log line by line, until it is dropped.
pub(super) struct Log(JoinHandle<()>);

impl Drop for Log {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Engine {
    pub(super) async fn open(context: &Context) -> Result<Self, Failure> {
        let said = context.host.env.get("DOCKER_HOST");
        let socket = match said.map(|said| said.strip_prefix("unix://").ok_or(said)) {
            None => SOCKET,
            Some(Ok(path)) => path,
            Some(Err(said)) => {
                let why = format!(
                    "DOCKER_HOST: {said:?} is no unix:///…/docker.sock, the only kind that is understood"
                );
                return Err(Failure::Configuration(why));
            }
        };
        let engine = Self { host: context.host.clone(), socket: PathBuf::from(socket) };
        engine.docker(&["version", "--format", "{{.Server.Version}}"]).await.map_err(|failure| {
            Failure::Nobody(format!("no docker engine answers: {}", failure.sentence()))
        })?;
        Ok(engine)
    }

    /// Runs docker's command line; what it printed, or what it complained of.
    pub(super) async fn docker(&self, words: &[&str]) -> Result<String, Failure> {
        let ran = Command::new("docker").args(words).stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = ran.map_err(|error| Failure::Nobody(format!("docker: {error}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Failure::No(format!("docker {}: {said}", words.first().copied().unwrap_or_default())))
    }

    /// Sees to it that an image is here.
    pub(super) async fn have(&self, image: &str, pull: Pull) -> Result<(), Failure> {
        let here = self.docker(&["image", "inspect", "-f", "{{.Id}}", image]).await.is_ok();
        match pull {
            Pull::Missing if here => Ok(()),
            Pull::Never if here => Ok(()),
            Pull::Never => Err(Failure::No(format!("the image {image} is not here, and may not be pulled"))),
            Pull::Always | Pull::Missing => {
                tracing::info!(image, "pulling");
                self.docker(&["pull", "--quiet", image]).await.map(drop)
            }
        }
    }

    /// The network and the sockets' volumes.
    pub(super) async fn prepare(&self, device: &Device) -> Result<(), Failure> {
        let label = format!("{LABEL}=1");
        if self.docker(&["network", "inspect", NETWORK]).await.is_err() {
            self.docker(&["network", "create", "--label", &label, NETWORK]).await?;
        }
        for module in &device.modules {
            // In memory, and for the modules' user alone. One that is there already is left as it is.
            let options = "o=uid=65532,gid=65532,mode=0700,size=64k";
            let volume = socket_volume(module);
            let words = [
                "volume",
                "create",
                "--label",
                &label,
                "-o",
                "type=tmpfs",
                "-o",
                "device=tmpfs",
                "-o",
                options,
            ];
            self.docker(&[&words[..], &[&volume]].concat()).await?;
        }
        Ok(())
    }

    /// Creates a container. One of that name that we made before gives way; somebody else's does not.
    pub(super) async fn create(&self, name: &str, body: &Value) -> Result<(), Failure> {
        let format = format!("{{{{index .Config.Labels \"{LABEL}\"}}}}");
        match self.docker(&["container", "inspect", "-f", &format, name]).await {
            Ok(label) if label.trim() == "1" => self.docker(&["rm", "-f", name]).await.map(drop)?,
            Ok(_) => {
                return Err(Failure::No(format!(
                    "a container named {name} is here already, and is not ours"
                )));
            }
            Err(_) => {}
        }
        let stream = self.host.network.dial_unix(&self.socket).await?;
        let path = format!("/{API}/containers/create?name={name}");
        let headers = [("host", "docker"), ("content-type", "application/json")];
        let answer = http::request(stream, "POST", &path, &headers, body.to_string()).await?;
        if answer.status == 201 {
            return Ok(());
        }
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        Err(Failure::No(format!(
            "{name}: the engine refuses it: {}",
            said["message"].as_str().unwrap_or("no reason")
        )))
    }

    /// Its log on our standard error, each line under its name.
    pub(super) fn logs(&self, name: &str) -> Result<Log, Failure> {
        let mut child = Command::new("docker")
            .args(["logs", "--follow", name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let lines = child.stderr.take().map(BufReader::new);
        let name = name.to_owned();
        Ok(Log(tokio::spawn(async move {
            let Some(lines) = lines else { return };
            let mut lines = lines.lines();
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("{name} | {line}");
            }
            drop(child);
        })))
    }

    /// A file of the hub's state.
    pub(super) async fn hub_file(&self, name: &str) -> Result<String, Failure> {
        let tar = self.docker(&["cp", &format!("{HUB}:/state/{name}"), "-"]).await?;
        // One file, one header of 512 bytes that says its size in octal, then the file.
        let size = tar.get(124..135).and_then(|size| usize::from_str_radix(size.trim(), 8).ok());
        let text = size.and_then(|size| tar.get(512..512 + size));
        text.map(str::to_owned).ok_or_else(|| Failure::No(format!("the hub's {name} cannot be read")))
    }

    /// Ends what was started, the last first, so that each can still hand on what it holds.
    pub(super) async fn end(&self, started: &[String]) -> Result<(), Failure> {
        for name in started.iter().rev() {
            self.docker(&["stop", "-t", "10", name]).await?;
            self.docker(&["rm", name]).await?;
        }
        Ok(())
    }
}
