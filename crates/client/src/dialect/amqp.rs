//! One AMQP connection, or one identity's session on a connection that it shares with others: fe2o3-amqp over our own
//! stream. Each direction of each link is a loop of its own; the first of them to end ends them all.

mod convert;
mod cord;
mod entity;
mod hear;
mod open;
mod publish;
mod speak;
mod trunk;
mod twin;

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::Mutex,
    time::{Duration, Instant},
};

use fe2o3_amqp::{Session, link::delivery::DeliveryInfo, session::SessionHandle};
use isotherm_host::Host;
use tokio::{sync::Notify, time::timeout};

pub(crate) use entity::{Entity, Sasl};
pub(crate) use open::{Open, open};
pub use trunk::Trunk;

use crate::{connection::Target, shared::Shared};

/// Inputs that the user has and has not accepted; the hub sends no more of them meanwhile.
const INPUTS_MAX: u32 = 200;
/// Calls, answers and changes that may be on their way to us at once.
const CREDIT: u32 = 100;
/// How long the hub may take to answer about the twin.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long to wait before asking again what the hub could not answer.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// An answer to a method that is older than any caller waits is not sent any more.
const RESPONSE_LIFE: Duration = Duration::from_secs(300);
/// How long the hub may take to say good-bye in turn.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// A token that could not be renewed is tried again after this part of the time that was left.
const RENEW_AGAIN: u32 = 4;

/// Why there is no connection, or no more.
#[derive(Debug)]
pub(crate) struct Over {
    pub(crate) reason: String,
    /// The hub does not let us in.
    pub(crate) refused: bool,
    /// The end was our own wish.
    pub(crate) planned: bool,
}

impl Over {
    fn lost(reason: impl Display) -> Self {
        Self { reason: reason.to_string(), refused: false, planned: false }
    }

    fn refused(reason: impl Display) -> Self {
        Self { refused: true, ..Self::lost(reason) }
    }

    fn planned() -> Self {
        Self { planned: true, ..Self::lost("the client is closed") }
    }
}

/// What one loop tells another: there is something to do.
#[derive(Debug, Default)]
struct News {
    outbox: Notify,
    accepted: Notify,
    answers: Notify,
    twin: Notify,
    room: Notify,
    /// The user accepted something: the hub may send more.
    claims: Notify,
}

impl News {
    fn all(&self) {
        let all = [&self.outbox, &self.accepted, &self.answers, &self.twin, &self.room, &self.claims];
        all.into_iter().for_each(Notify::notify_one);
    }
}

/// What the loops of one connection have in common.
struct Talk<'a> {
    host: &'a Host,
    shared: &'a Shared,
    target: &'a Target,
    news: News,
    claims: Mutex<Claims>,
}

/// Deliveries that the user has and has not accepted, by the number that he knows them by.
#[derive(Debug, Default)]
struct Claims {
    last: u32,
    open: BTreeMap<u32, DeliveryInfo>,
}

impl Talk<'_> {
    /// Looks after the connection: wakes the loops, and ends when the client is gone.
    async fn watch(&self) -> Over {
        loop {
            let closing = std::future::poll_fn(|cx| {
                let mut state = self.shared.lock();
                if std::mem::take(&mut state.poke) || state.closing {
                    return std::task::Poll::Ready(state.closing);
                }
                state.listen_link(cx.waker());
                std::task::Poll::Pending
            })
            .await;
            self.news.all();
            if closing {
                return self.say_the_last().await;
            }
        }
    }

    /// What was accepted is said before the good-bye.
    async fn say_the_last(&self) -> Over {
        let said = async {
            while !self.shared.lock().acknowledge.is_empty() {
                self.news.accepted.notify_one();
                tokio::task::yield_now().await;
            }
        };
        let _ = timeout(CLOSE_WITHIN, said).await; // what is not said is delivered again
        Over::planned()
    }

    fn claims(&self) -> std::sync::MutexGuard<'_, Claims> {
        self.claims.lock().expect("nothing panics while it holds the claims")
    }
}

/// Speaks for as long as the connection lives.
pub(crate) async fn speak(host: &Host, shared: &Shared, target: &Target, mut open: Box<Open>) -> Over {
    let talk = Talk { host, shared, target, news: News::default(), claims: Mutex::default() };
    {
        let (mut state, now) = (shared.lock(), host.now());
        state.connected();
        let fresh = |at: Instant| now.saturating_duration_since(at) < RESPONSE_LIFE;
        state.responses.retain(|response| fresh(response.at));
    }
    talk.news.all();
    let over = talk.converse(&mut open).await;
    part(*open, over.planned).await;
    over
}

impl Talk<'_> {
    async fn converse(&self, open: &mut Open) -> Over {
        let Open { session, telemetry, cbs, deliveries, methods, twin, renew_after, .. } = open;
        let disposer = deliveries.as_ref().map(fe2o3_amqp::Receiver::disposer);
        let (calls, answers) = methods.as_mut().map(|pair| (&mut pair.receiver, &mut pair.sender)).unzip();
        tokio::select! {
            biased;
            over = ended(session) => over,
            over = self.watch() => over,
            over = self.accept(disposer) => over,
            over = self.answer(answers) => over,
            over = self.take_calls(calls) => over,
            over = self.follow_twin(twin.as_mut()) => over,
            over = self.renew(cbs.as_mut(), *renew_after) => over,
            over = self.take_deliveries(deliveries.as_mut()) => over,
            over = self.publish(telemetry) => over,
        }
    }
}

/// Ends with the session, for whatever reason.
async fn ended(session: &mut SessionHandle<()>) -> Over {
    match session.on_end().await {
        Ok(()) => Over::lost("the hub ended the session"),
        Err(error) => Over::lost(format_args!("{error} ({error:?})")),
    }
}

/// Says good-bye, if somebody is there to hear it; then the stream ends first, and all that hangs on it after.
async fn part(mut open: Open, planned: bool) {
    let alone = open.trunk.is_private();
    let said = async {
        if planned && let Some(deliveries) = open.deliveries.take() {
            // The good-bye goes another way inside the library, and would overtake what was accepted last.
            let _ = deliveries.close().await;
        }
        if planned || !alone { open.trunk.leave(&mut open.session).await } else { false }
    };
    if timeout(CLOSE_WITHIN, said).await != Ok(true) {
        open.cord.cut();
        open.trunk.forget().await;
    }
    open.guard.disarm();
}

/// A session on a connection.
async fn begin(handle: &mut fe2o3_amqp::connection::ConnectionHandle<()>) -> Result<SessionHandle<()>, Over> {
    Session::begin(handle).await.map_err(Over::lost)
}
