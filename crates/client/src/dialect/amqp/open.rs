//! How an AMQP connection is opened: SASL if it is wanted, a session, a token put into `$cbs`, and the links.

use std::{future::Future, io};

use fe2o3_amqp::{
    Connection, Receiver, Sender,
    connection::ConnectionHandle,
    link::{SenderAttachError, receiver::CreditMode},
    sasl_profile::SaslProfile,
    session::SessionHandle,
};
use fe2o3_amqp_types::{
    definitions::{Error, Fields, SenderSettleMode},
    messaging::{Body, Message as Wire, MessageId, Properties, Target as Terminus, TerminusDurability},
    primitives::{Symbol, Value},
};
use isotherm_host::{BoxStream, Host};
use isotherm_iothub::Identity;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    CREDIT, Over, Sasl, Trunk, begin,
    convert::{self, Received},
    cord::{Cord, Corded},
    trunk::Wire as Standing,
};
use crate::{connection::Target, credentials::Password, dialect::Dialect};

/// The largest frame that is taken in, in bytes.
const FRAME_BYTES_MAX: u32 = 64 << 10;
/// A peer that is silent for longer than this is gone, in milliseconds.
const IDLE_MILLISECONDS: u32 = 60_000;
/// The version of the API that is spoken.
const API_VERSION: &str = "2021-04-12";
/// What we are, in the hub's logs.
const CLIENT_TYPE: &str = concat!("isotherm/", env!("CARGO_PKG_VERSION"));
/// What need not be encoded in an address.
const IN_ADDRESS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A connection that is open, with all its links. The guard comes first: whoever drops this ends the stream first.
pub(crate) struct Open {
    pub(super) guard: Guard,
    pub(super) cord: Cord,
    pub(super) cbs: Option<Cbs>,
    pub(super) telemetry: Sender,
    /// Inputs of a module, messages to a device.
    pub(super) deliveries: Option<Receiver>,
    pub(super) methods: Option<Pair>,
    pub(super) twin: Option<Pair>,
    pub(super) session: SessionHandle<()>,
    pub(super) trunk: Trunk,
    pub(super) renew_after: Option<std::time::Duration>,
}

/// Two links that belong together.
pub(super) struct Pair {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
}

/// The links over which tokens are shown.
pub(super) struct Cbs {
    pair: Pair,
    answers_at: String,
}

/// Cuts the cord, unless it was told not to.
pub(super) struct Guard(Option<Cord>);

impl Guard {
    pub(super) fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(cord) = self.0.take() {
            cord.cut();
        }
    }
}

/// Opens what is needed, dialling if nobody has yet. Has no limit in time; who gives up drops it.
pub(crate) async fn open(
    host: &Host,
    target: &Target,
    password: Password,
    dial: impl Future<Output = io::Result<BoxStream>>,
) -> Result<Box<Open>, Over> {
    let mut wire = target.trunk.wire().await;
    let standing = match &mut *wire {
        Some(standing) => standing,
        none => none.insert(connect(host, target, dial).await?),
    };
    let cord = standing.cord.clone();
    let mut guard = Guard(Some(cord.clone()));
    let mut session = begin(&mut standing.handle).await?;
    drop(wire);
    target.trunk.enter();
    let attached = attach(target, password, &mut session).await;
    match attached {
        Ok(Links { cbs, telemetry, deliveries, methods, twin, renew_after }) => Ok(Box::new(Open {
            guard,
            cord,
            cbs,
            telemetry,
            deliveries,
            methods,
            twin,
            session,
            trunk: target.trunk.clone(),
            renew_after,
        })),
        Err(over) => {
            // On a connection of many, one that is not let in costs the others nothing.
            if !target.trunk.is_private() && target.trunk.leave(&mut session).await {
                guard.disarm();
            }
            drop(guard);
            Err(over)
        }
    }
}

async fn connect(
    host: &Host,
    target: &Target,
    dial: impl Future<Output = io::Result<BoxStream>>,
) -> Result<Standing, Over> {
    let (stream, cord) = Corded::new(dial.await.map_err(Over::lost)?);
    let mut guard = Guard(Some(cord.clone()));
    let name = match &target.dialect {
        Dialect::Hub(hub) => &hub.name,
        _ => &target.peer,
    };
    let container = format!("isotherm-{:016x}", (host.chance.f64() * 2_f64.powi(52)) as u64);
    let mut builder = Connection::builder()
        .container_id(container)
        .hostname(name.as_str())
        .max_frame_size(FRAME_BYTES_MAX)
        .idle_time_out(IDLE_MILLISECONDS);
    let sasl = match &target.dialect {
        Dialect::Entity(entity) => entity.sasl.clone(),
        _ => Sasl::None,
    };
    builder = match sasl {
        Sasl::None => builder,
        Sasl::Anonymous => builder.sasl_profile(SaslProfile::Anonymous),
        Sasl::Plain { user, key } => {
            builder.sasl_profile(SaslProfile::Plain { username: user, password: key })
        }
    };
    let handle: ConnectionHandle<()> = builder.open_with_stream(stream).await.map_err(|error| {
        let text = format!("{error:?}");
        if text.contains("SaslError") { Over::refused(error) } else { Over::lost(error) }
    })?;
    guard.disarm();
    Ok(Standing { handle, cord })
}

struct Links {
    cbs: Option<Cbs>,
    telemetry: Sender,
    deliveries: Option<Receiver>,
    methods: Option<Pair>,
    twin: Option<Pair>,
    renew_after: Option<std::time::Duration>,
}

async fn attach(target: &Target, password: Password, session: &mut SessionHandle<()>) -> Result<Links, Over> {
    let audience = target.audience();
    let cbs = match &password.token {
        Some(token) => {
            let mut cbs = open_cbs(session, answers_at(target)).await?;
            put_token(&mut cbs, &audience, token).await?;
            Some(cbs)
        }
        None => None,
    };
    let renew_after = password.renew_after;
    let identity = match &target.dialect {
        Dialect::Hub(hub) => &hub.identity,
        Dialect::Entity(entity) => {
            let mut to = Terminus::from(entity.address.as_str());
            if cbs.is_none() {
                // A broker may make a queue for whoever names it: it is to be one that outlives the broker's process.
                to.durable = TerminusDurability::Configuration;
            }
            let telemetry = sender(session, &entity.address, to, None, SenderSettleMode::Mixed).await?;
            return Ok(Links { cbs, telemetry, deliveries: None, methods: None, twin: None, renew_after });
        }
        Dialect::Broker(_) => unreachable!("brokers are spoken to by MQTT"),
    };
    let root = root(identity);
    let events = format!("{root}/messages/events");
    let telemetry =
        sender(session, "telemetry", events.as_str(), Some(fields(None)), SenderSettleMode::Mixed).await?;
    let from = match identity.module_id() {
        Some(_) => events,
        None => format!("{root}/messages/devicebound"),
    };
    let deliveries = receiver(session, "deliveries", &from, Some(fields(None)), CreditMode::Manual).await?;
    let methods = format!("{root}/methods/devicebound");
    let methods = pair(session, "methods", &methods, SenderSettleMode::Mixed).await?;
    let twin = pair(session, "twin", &format!("{root}/twin"), SenderSettleMode::Settled).await?;
    let (methods, twin) = (Some(methods), Some(twin));
    Ok(Links { cbs, telemetry, deliveries: Some(deliveries), methods, twin, renew_after })
}

/// Where answers of `$cbs` go: on a connection of many, each has such a pair of links.
fn answers_at(target: &Target) -> String {
    match &target.dialect {
        Dialect::Hub(hub) => format!("cbs-{}", hub.identity),
        _ => "cbs".to_owned(),
    }
}

async fn open_cbs(session: &mut SessionHandle<()>, answers_at: String) -> Result<Cbs, Over> {
    let sender = sender(session, "cbs-out", "$cbs", None, SenderSettleMode::Mixed).await?;
    let receiver = Receiver::builder()
        .name("cbs-in")
        .source("$cbs")
        .target(answers_at.clone())
        .credit_mode(CreditMode::Auto(CREDIT))
        .verify_incoming_source(false)
        .verify_incoming_target(false)
        .attach(session)
        .await
        .map_err(|error| Over::lost(format_args!("$cbs: {error} ({error:?})")))?;
    Ok(Cbs { pair: Pair { sender, receiver }, answers_at })
}

/// `/devices/d` or `/devices/d/modules/m`.
fn root(identity: &Identity) -> String {
    let encode = |id: &str| utf8_percent_encode(id, IN_ADDRESS).to_string();
    let module = identity.module_id().map(|id| format!("/modules/{}", encode(id)));
    format!("/devices/{}{}", encode(identity.device_id()), module.unwrap_or_default())
}

/// What a hub wants to know of a link; both of a pair carry the same correlation.
fn fields(pair: Option<&str>) -> Fields {
    let mut fields = Fields::new();
    let mut say = |key: &str, value: String| fields.insert(Symbol::from(key), Value::String(value));
    say("com.microsoft:client-version", CLIENT_TYPE.to_owned());
    if let Some(pair) = pair {
        say("com.microsoft:api-version", API_VERSION.to_owned());
        // One session has one pair of each kind, so their kind tells them apart.
        say("com.microsoft:channel-correlation-id", format!("{pair}:{pair}"));
    }
    fields
}

async fn pair(
    session: &mut SessionHandle<()>,
    name: &str,
    address: &str,
    settles: SenderSettleMode,
) -> Result<Pair, Over> {
    let properties = Some(fields(Some(name)));
    let receiver =
        receiver(session, &format!("{name}-in"), address, properties.clone(), CreditMode::Auto(CREDIT))
            .await?;
    let sender = sender(session, &format!("{name}-out"), address, properties, settles).await?;
    Ok(Pair { sender, receiver })
}

async fn sender(
    session: &mut SessionHandle<()>,
    name: &str,
    to: impl Into<Terminus>,
    properties: Option<Fields>,
    settles: SenderSettleMode,
) -> Result<Sender, Over> {
    let to = to.into();
    let address = to.address.clone().unwrap_or_default();
    let mut builder =
        Sender::builder().name(name).target(to).sender_settle_mode(settles).verify_incoming_target(false);
    if let Some(properties) = properties {
        builder = builder.properties(properties);
    }
    builder.attach(session).await.map_err(|error| match &error {
        SenderAttachError::RemoteClosedWithError(why) => refused(why, &address),
        _ => Over::lost(format_args!("{address}: {error} ({error:?})")),
    })
}

async fn receiver(
    session: &mut SessionHandle<()>,
    name: &str,
    address: &str,
    properties: Option<Fields>,
    credit: CreditMode,
) -> Result<Receiver, Over> {
    let mut builder =
        Receiver::builder().name(name).source(address).credit_mode(credit).verify_incoming_source(false);
    if let Some(properties) = properties {
        builder = builder.properties(properties);
    }
    builder.attach(session).await.map_err(|error| match &error {
        fe2o3_amqp::link::ReceiverAttachError::RemoteClosedWithError(why) => refused(why, address),
        _ => Over::lost(format_args!("{address}: {error} ({error:?})")),
    })
}

/// Whether an error says that it is us who may not.
pub(super) fn refused(error: &Error, what: &str) -> Over {
    let condition = format!("{:?}", error.condition);
    let said = error.description.as_deref().unwrap_or(&condition);
    let ours = ["UnauthorizedAccess", "NotFound", "NotAllowed"];
    let reason = format!("{what}: {said}");
    if ours.iter().any(|it| condition.contains(it)) { Over::refused(reason) } else { Over::lost(reason) }
}

/// Shows a token, and waits for the word that it is good.
pub(super) async fn put_token(cbs: &mut Cbs, audience: &str, token: &str) -> Result<(), Over> {
    let Cbs { pair: cbs, answers_at } = cbs;
    let request = Wire::builder()
        .properties(
            Properties::builder()
                .message_id(MessageId::String("token".to_owned()))
                .to("$cbs")
                .reply_to(answers_at.as_str())
                .build(),
        )
        .application_properties(
            fe2o3_amqp_types::messaging::ApplicationProperties::builder()
                .insert("operation", "put-token")
                .insert("type", "servicebus.windows.net:sastoken")
                .insert("name", audience)
                .build(),
        )
        .value(token.to_owned())
        .build();
    cbs.sender.send(request).await.map_err(Over::lost)?;
    let answer = cbs.receiver.recv::<Body<Value>>().await.map_err(Over::lost)?;
    cbs.receiver.accept(&answer).await.map_err(Over::lost)?;
    let answer: &Received = answer.message();
    match convert::number_property(answer, "status-code") {
        Some(200..=299) => Ok(()),
        status => {
            let why = convert::property(answer, "status-description").unwrap_or_default();
            Err(Over::refused(format_args!("the token is answered {}: {why}", status.unwrap_or_default())))
        }
    }
}
