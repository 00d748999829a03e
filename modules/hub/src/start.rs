//! How a hub comes up, step by step, and how it goes down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use isotherm_host::tls::{ClientCertificates, ServerTls};
use isotherm_host::{BoxListener, Disk, Host, WiringError};
use isotherm_iothub::Key;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::certificates::{self, Certificates};
use crate::committer::Committer;
use crate::core::{self, Core, Now};
use crate::deployment;
use crate::jobs::{self, Jobs};
use crate::listen::{self, Door};
use crate::meter::Meter;
use crate::options::{Options, Quotas, SyncWhen};
use crate::place::Place;
use crate::quotas::Throttles;
use crate::ready::{self, Ports, READY_FILE, Ready};
use crate::shared::Shared;
use crate::store::{Settings, Store, SyncMode};
use crate::upstream;
use crate::workload::{self, Sockets, Workload};

/// Where the store is, under the state folder.
const STORE_FOLDER: &str = "hub/store";
/// Size of a journal's segments when they are in memory: a segment is let go of as a whole, so that what was delivered
/// stays for so long. There is one for each queue and nothing to sync, so a small one costs nothing.
const EPHEMERAL_SEGMENT_BYTES: u64 = 32 << 10;
/// The smallest segments on disk, for small limits: room comes back by whole segments.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// How many segments the least that is allowed is made of, at least.
const SEGMENTS_MIN: u64 = 8;
/// Where keys and certificates are.
const PKI_FOLDER: &str = "hub/pki";
/// The authority to trust, for others to read.
pub(crate) const CA_FILE: &str = "ca.pem";
/// The workload API's socket.
const WORKLOAD_SOCKET: &str = "workload.sock";

/// A hub that is up: its tasks, and all that must be put away when they have ended.
pub(crate) struct Running {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    committer: Committer,
    place: Place,
    /// Answers who reads metrics, as long as it is kept.
    _meter: Arc<Meter>,
}

/// Brings a hub up.
pub(crate) async fn start(host: Host, options: &Options) -> anyhow::Result<(Running, Ready)> {
    let place = Place::open(&host, options)?;
    let certificates = Arc::new(open_certificates(&host, options, &place)?);
    let tls = server_tls(&host, &certificates)?;
    let device_roots = device_roots(&*place.outside, options)?;

    let store = open_store(options, &place)?;
    let now = Now { instant: host.now(), wall: host.wall() };
    let core = Core::open(core_options(&*place.outside, options)?, store.clone(), host.chance.clone(), now)
        .context("the hub's state cannot be recalled")?;
    let committer = Committer::start(&host, &store);
    let jobs = Jobs::recall(&store)?;
    let throttles = Throttles::new(options.quotas == Quotas::S1, host.now());
    let shared = Shared::new(host, store, core, tls, device_roots, jobs, throttles);
    deployment::apply(&shared, options, &place).await?;

    let mqtts = open(&shared.host, options, "mqtts", options.mqtts).await?;
    let amqps = open(&shared.host, options, "amqps", options.amqps).await?;
    let https = open(&shared.host, options, "https", options.https).await?;
    let ports = Ports {
        mqtts: mqtts.local_addr()?.port(),
        amqps: Some(amqps.local_addr()?.port()),
        https: https.local_addr()?.port(),
    };
    let _ = shared.amqps.set(amqps.local_addr()?.port()); // only ever set here
    let mut tasks = JoinSet::new();
    tasks.spawn(listen::listen(Arc::clone(&shared), mqtts, Door::Mqtts));
    tasks.spawn(listen::listen(Arc::clone(&shared), amqps, Door::Amqps));
    tasks.spawn(listen::listen(Arc::clone(&shared), https, Door::Https));
    jobs::resume(&shared);
    if let Some(upstream) = &options.upstream {
        upstream::start(&mut tasks, &shared, upstream, &place).await?;
    }
    tasks.spawn(keep_time(Arc::clone(&shared)));
    if !shared.host.clock.is_virtual() {
        tasks.spawn(listen::tidy(Arc::clone(&shared)));
    }
    tasks.spawn(renew(Arc::clone(&shared), options.clone(), place.inside.clone(), place.path(PKI_FOLDER)));
    let workload = Workload { shared: Arc::clone(&shared), certificates, only: None };
    let workloads = serve_modules(&mut tasks, &workload, options).await;
    let workload = serve_workload(&mut tasks, workload, &place).await;
    let ready = Ready { workload, workloads, ..ready::describe(&shared, options, &place.folder, ports) };
    place
        .show(READY_FILE, &serde_json::to_vec_pretty(&ready)?)
        .context("the state folder cannot be written to")?;
    tracing::info!(
        host_name = ready.host_name,
        address = ready.address,
        mqtts = ports.mqtts,
        amqps = ports.amqps,
        https = ports.https,
        "the hub is ready"
    );
    let meter = Arc::new(Meter(Arc::clone(&shared)));
    shared.host.metrics.ask(&meter);
    Ok((Running { shared, tasks, committer, place, _meter: meter }, ready))
}

impl Running {
    /// Waits for the word to stop, then ends everything in the order that loses nothing.
    pub(crate) async fn until_closed(mut self) -> anyhow::Result<()> {
        self.shared.host.stop.stopped().await;
        let _ = self.place.outside.remove(&self.place.path(READY_FILE)); // nobody shall look for a hub here
        while self.tasks.join_next().await.is_some() {}
        self.shared.room.emptied().await;
        let synced = self.committer.close().await;
        tracing::info!("the hub has ended");
        synced.context("the last of the hub's state could not be synced")
    }
}

fn open_certificates(host: &Host, options: &Options, place: &Place) -> anyhow::Result<Certificates> {
    let names = names(&*place.outside, options);
    let certificates = Certificates::open(&*place.inside, &place.path(PKI_FOLDER), &names, host.wall())?;
    place
        .show(CA_FILE, certificates.authority.certificate_pem().as_bytes())
        .context("ca.pem cannot be written")?;
    Ok(certificates)
}

fn server_tls(host: &Host, certificates: &Certificates) -> anyhow::Result<ServerTls> {
    let tls = ServerTls::new(&certificates.chain_pem, &certificates.key_pem, ClientCertificates::Asked)?;
    Ok(tls.on(&*host.network))
}

/// Every name that somebody may dial this hub by.
fn names(disk: &dyn Disk, options: &Options) -> Vec<String> {
    let mut names = vec![options.host_name.clone()];
    let others = ["localhost", "127.0.0.1", "::1", "edgeHub"].map(str::to_owned);
    let listen = (!options.listen.is_unspecified()).then(|| options.listen.to_string());
    let candidates =
        others.into_iter().chain(options.names.iter().cloned()).chain(machine(disk)).chain(listen);
    for name in candidates {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The machine's own name, if it tells.
pub(crate) fn machine(disk: &dyn Disk) -> Option<String> {
    let text = disk.read(Path::new("/proc/sys/kernel/hostname")).ok()?;
    let name = String::from_utf8(text).ok()?.trim().to_owned();
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
    (!name.is_empty() && name.chars().all(fits)).then_some(name)
}

fn device_roots(disk: &dyn Disk, options: &Options) -> anyhow::Result<String> {
    let mut roots = String::new();
    for file in &options.device_ca {
        let wrong = |why: String| WiringError::new(format!("--device-ca {}", file.display()), why);
        let text = disk.read(file).map_err(|error| wrong(error.to_string()))?;
        let text = String::from_utf8(text).map_err(|_| wrong("is no PEM text".to_owned()))?;
        let found = isotherm_pki::certificates(&text).map_err(|error| wrong(error.to_string()))?;
        if found.is_empty() {
            return Err(wrong("holds no certificate; a PEM file is wanted".to_owned()).into());
        }
        roots.push_str(&text);
        roots.push('\n');
    }
    Ok(roots)
}

fn open_store(options: &Options, place: &Place) -> anyhow::Result<Store> {
    let sync = match options.sync {
        SyncWhen::Batch => SyncMode::Batch,
        SyncWhen::Interval(interval) => SyncMode::Interval(interval),
    };
    let mut settings = Settings { sync, when_full: options.when_full, ..Settings::default() };
    settings.queues_bytes_max = options.store_bytes.unwrap_or(settings.queues_bytes_max);
    settings.events_bytes_max = options.log_bytes.unwrap_or(settings.events_bytes_max);
    if !place.inside.is_durable() {
        settings.patience = std::time::Duration::ZERO; // nothing is quicker than memory
    }
    if options.ephemeral {
        settings.sync = SyncMode::Never;
        settings.segment_bytes = EPHEMERAL_SEGMENT_BYTES;
    }
    let least = settings.queues_bytes_max.min(settings.events_bytes_max / u64::from(Core::PARTITIONS));
    let fits = (least / SEGMENTS_MIN).max(SEGMENT_BYTES_MIN);
    settings.segment_bytes = settings.segment_bytes.min(fits);
    let (store, recovered) = Store::open(Arc::clone(&place.inside), &place.path(STORE_FOLDER), settings)?;
    if recovered.corrupt_records > 0 {
        tracing::error!(
            ?recovered,
            "records of the store are damaged on disk; they are lost and never delivered"
        );
    } else if recovered.torn_bytes > 0 {
        tracing::warn!(?recovered, "the store was not closed in order; what had not been synced is cut off");
    } else {
        tracing::debug!(?recovered, "the store is open");
    }
    Ok(store)
}

fn core_options(disk: &dyn Disk, options: &Options) -> anyhow::Result<core::Options> {
    let mut policies = Vec::new();
    for (name, key) in &options.policies {
        let key = Key::from_base64(key)
            .map_err(|refused| WiringError::new(format!("--policy {name}"), refused.to_string()))?;
        policies.push((name.clone(), key));
    }
    let other_names = names(disk, options);
    let (fresh_first, module_generation) = (options.fresh_first.clone(), options.module_generation);
    Ok(core::Options {
        policies,
        other_names,
        fresh_first,
        module_generation,
        ..core::Options::new(&options.host_name, &options.device_id)
    })
}

async fn open(host: &Host, options: &Options, name: &str, port: u16) -> anyhow::Result<BoxListener> {
    let address = SocketAddr::new(options.listen, port);
    host.network.listen(address).await.with_context(|| {
        format!(
            "port {port} cannot be opened for {name}; another one: --{name} PORT, or 0 for any that is free"
        )
    })
}

/// Says the address of each module's own socket; none if they are not asked for.
async fn serve_modules(
    tasks: &mut JoinSet<()>,
    workload: &Workload,
    options: &Options,
) -> BTreeMap<String, String> {
    let Some(folder) = &options.workload_dir else { return BTreeMap::new() };
    let sockets = Sockets::open(workload.clone(), folder).await;
    let addresses = sockets.addresses();
    tasks.spawn(sockets.keep());
    addresses
}

/// Says the address, or nothing if it is not served.
async fn serve_workload(tasks: &mut JoinSet<()>, workload: Workload, place: &Place) -> String {
    let path = place.path(WORKLOAD_SOCKET);
    match workload.shared.host.network.listen_unix(&path).await {
        Ok(listener) => {
            // The folder is 0700 already; this holds when somebody opens it up. A simulated socket has no file.
            let _ = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600));
            tasks.spawn(workload::listen(workload, listener));
            format!("unix://{}", path.display())
        }
        // Not worth the whole hub: connection strings do without. (A path of more than 107 bytes is too long.)
        Err(error) => {
            tracing::warn!(%error, "the workload API is not served");
            String::new()
        }
    }
}

/// Tells the hub's mind when time has passed.
async fn keep_time(shared: Arc<Shared>) {
    let earlier = Arc::new(Notify::new());
    let ringer = Arc::clone(&earlier);
    shared.core().on_timer(Arc::new(move || ringer.notify_one()));
    let stop = shared.host.stop.clone();
    loop {
        let next = shared.core().poll_timeout();
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = earlier.notified() => {}
            () = sleep_until(next) => {
                let now = shared.now();
                shared.core().handle_timeout(now);
            }
        }
    }
}

async fn sleep_until(instant: Option<std::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// Looks now and then whether the server's certificate should be made anew: a hub may run for years.
async fn renew(shared: Arc<Shared>, options: Options, disk: Arc<dyn Disk>, folder: std::path::PathBuf) {
    let stop = shared.host.stop.clone();
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = tokio::time::sleep(certificates::LOOK_EVERY) => {}
        }
        let names = names(&*shared.host.disk, &options);
        let renewed = Certificates::open(&*disk, &folder, &names, shared.host.wall())
            .and_then(|certificates| server_tls(&shared.host, &certificates));
        match renewed {
            Ok(tls) => shared.present(tls),
            Err(error) => tracing::warn!(%error, "the server certificate cannot be renewed"),
        }
    }
}
