//! The workload API: what a module asks the runtime on its own machine for, over a Unix socket. Whoever may open the
//! hub's own socket may ask for any module of this device: the file is the hub's user's alone. Beside it each module
//! may have one that answers for itself only ([`Sockets`]).

mod sockets;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use isotherm_host::{BoxListener, BoxStream};
use isotherm_iothub::Identity;
use isotherm_pki::Issued;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::certificates::{Certificates, validity};
use crate::shared::Shared;

pub(crate) use sockets::Sockets;

/// Connections at once; one more is closed without an answer, as the IoT Edge runtime does.
const CONNECTIONS_MAX: usize = 64;
/// How long accepting rests when the system has no socket to give.
const REST: Duration = Duration::from_millis(100);
/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long the head of a request may take.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long a module's certificate lives.
const CERTIFICATE_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The versions of the API that modules ask for; it has not changed since the first.
const VERSIONS: [&str; 7] =
    ["2018-06-28", "2019-01-30", "2019-10-22", "2019-11-05", "2020-07-07", "2021-12-07", "2022-08-03"];

/// What the answers are made from.
#[derive(Clone)]
pub(crate) struct Workload {
    pub(crate) shared: Arc<Shared>,
    pub(crate) certificates: Arc<Certificates>,
    /// The one module that this socket is for; none: whoever opens it is trusted for all.
    pub(crate) only: Option<Arc<str>>,
}

/// A refusal: `{"message":…}`.
type No = (StatusCode, Json<Value>);

/// Answers modules until the hub ends.
pub(crate) async fn listen(workload: Workload, listener: BoxListener) {
    let stop = workload.shared.host.stop.clone();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "no workload connection can be accepted at the moment");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let Ok(seat) = Arc::clone(&room).try_acquire_owned() else {
            workload.shared.counters.count("workload_refused_too_many");
            continue;
        };
        let (workload, stop) = (workload.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.stopped() => {}
                () = serve(workload, stream) => {}
            }
            drop(seat);
        });
    }
}

async fn serve(workload: Workload, stream: BoxStream) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router(workload)))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "workload connection ended");
    }
}

fn router(workload: Workload) -> Router {
    Router::new()
        .route("/trust-bundle", get(trust_bundle))
        .route("/manifest-trust-bundle", get(async || Json(json!({"certificate": ""}))))
        .route("/modules", get(modules))
        .route("/modules/", get(modules))
        .route("/modules/{module}/genid/{generation}/sign", post(sign))
        .route("/modules/{module}/genid/{generation}/certificate/server", post(server_certificate))
        .route("/modules/{module}/certificate/identity", post(identity_certificate))
        .fallback(async || no(StatusCode::NOT_FOUND, "not served here"))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn(check_version))
        .with_state(workload)
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "api-version")]
    version: Option<String>,
}

async fn check_version(Query(asked): Query<Version>, request: Request, next: Next) -> Response {
    match asked.version.as_deref() {
        Some(version) if VERSIONS.contains(&version) => next.run(request).await,
        Some(version) => {
            let message = format!("api-version {version} is not known; known are {}", VERSIONS.join(", "));
            no(StatusCode::BAD_REQUEST, message).into_response()
        }
        None => no(StatusCode::BAD_REQUEST, "api-version is missing").into_response(),
    }
}

async fn trust_bundle(State(workload): State<Workload>) -> Json<Value> {
    Json(json!({"certificate": workload.certificates.authority.certificate_pem()}))
}

async fn modules(State(workload): State<Workload>) -> Json<Value> {
    let core = workload.shared.core();
    let device = core.options().device_id.clone();
    let modules: Vec<Value> = core
        .identities()
        .iter()
        .filter(|who| who.device_id() == device)
        .filter_map(|who| Some((who.module_id()?, core.connected(who))))
        .map(|(module, connected)| {
            let status = if connected { "running" } else { "stopped" };
            json!({
                "id": module,
                "name": module,
                "type": "docker",
                "config": {"settings": {}, "env": []},
                "status": {"runtimeStatus": {"status": status}},
            })
        })
        .collect();
    Json(json!({ "modules": modules }))
}

#[derive(Deserialize)]
struct Sign {
    data: String,
}

/// Signs with a module's own key, which never leaves the hub.
async fn sign(
    State(workload): State<Workload>,
    Path((module, generation)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, No> {
    let who = workload.module(&module, Some(&generation))?;
    let asked: Sign = parse(&body)?;
    let data = STANDARD
        .decode(&asked.data)
        .map_err(|error| no(StatusCode::BAD_REQUEST, format!("invalid parameter: data: {error}")))?;
    let key = workload.shared.core().key_of(&who);
    let key =
        key.ok_or_else(|| no(StatusCode::NOT_FOUND, "the module has no key; it comes in by certificate"))?;
    Ok(Json(json!({"digest": key.sign(&data)})))
}

#[derive(Deserialize)]
struct ServerCertificate {
    #[serde(rename = "commonName")]
    common_name: String,
}

async fn server_certificate(
    State(workload): State<Workload>,
    Path((module, generation)): Path<(String, String)>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), No> {
    workload.module(&module, Some(&generation))?;
    let asked: ServerCertificate = parse(&body)?;
    let validity = validity(workload.shared.host.wall(), CERTIFICATE_LIFE);
    let issued = workload.certificates.authority.issue_server(&[asked.common_name, module], validity);
    issue(issued)
}

async fn identity_certificate(
    State(workload): State<Workload>,
    Path(module): Path<String>,
) -> Result<(StatusCode, Json<Value>), No> {
    workload.module(&module, None)?;
    let validity = validity(workload.shared.host.wall(), CERTIFICATE_LIFE);
    issue(workload.certificates.authority.issue_client(&module, validity))
}

fn issue(issued: Result<Issued, isotherm_pki::PkiError>) -> Result<(StatusCode, Json<Value>), No> {
    let issued = issued.map_err(|error| no(StatusCode::BAD_REQUEST, error.to_string()))?;
    let expiration = isotherm_pki::not_after(&issued.certificate_pem)
        .map_err(|error| no(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let body = json!({
        "privateKey": {"type": "key", "bytes": issued.key_pem},
        "certificate": issued.certificate_pem,
        "expiration": expiration.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
    });
    Ok((StatusCode::CREATED, Json(body)))
}

impl Workload {
    /// The modules of the edge device, the runtime's own aside.
    fn modules(&self) -> Vec<String> {
        let core = self.shared.core();
        let device = &core.options().device_id;
        let identities = core.identities();
        let ours = identities.iter().filter(|who| who.device_id() == device).filter_map(Identity::module_id);
        ours.filter(|module| !module.starts_with('$')).map(str::to_owned).collect()
    }

    /// The module of that name, if it is the one that the caller means.
    fn module(&self, module: &str, generation: Option<&str>) -> Result<Identity, No> {
        let core = self.shared.core();
        if self.only.as_deref().is_some_and(|only| only != module) {
            self.shared.counters.count("workload_refused_foreign_module");
            return Err(no(StatusCode::FORBIDDEN, format!("this socket is not for module {module}")));
        }
        let unknown = || no(StatusCode::NOT_FOUND, format!("module {module} is not known here"));
        let who = Identity::module(&core.options().device_id, module).map_err(|_| unknown())?;
        let current = core.generation_of(&who).ok_or_else(unknown)?;
        if generation.is_some_and(|generation| generation != current) {
            return Err(no(
                StatusCode::FORBIDDEN,
                format!("module {module} has another generation id by now"),
            ));
        }
        Ok(who)
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, No> {
    serde_json::from_slice(body)
        .map_err(|error| no(StatusCode::BAD_REQUEST, format!("invalid parameter: the body: {error}")))
}

fn no(status: StatusCode, message: impl Into<String>) -> No {
    (status, Json(json!({"message": message.into()})))
}
