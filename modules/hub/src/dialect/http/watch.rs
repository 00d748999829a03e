//! What passes, as it passes: JSON lines for `isotherm watch` and `isotherm up`, and the hub's own state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::Door;
use super::events::pairs;
use super::failure::{Answer, Failure};
use super::lines;
use crate::core::{Core, Event, Position, Right, Subject, Tap};
use crate::shared::Shared;

/// An empty line goes out after this long without news, so that both ends notice when the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events of one partition in one piece of the answer.
const PIECE_MAX: usize = 256;
/// Connected clients that the status names.
const CONNECTED_MAX: usize = 1_000;

/// `GET /isotherm/v1/watch?kinds=messages,upstream,twins,methods,connections&from=earliest|latest|TIME&module=NAME`.
/// `from` is for upstream; of all else, only what passes from now on is seen.
pub(crate) async fn watch(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer<Response> {
    door.authorize(&headers, Right::ServiceConnect, "/")?;
    let wanted = Wanted::parse(query.as_deref().unwrap_or(""))
        .map_err(|reason| Failure::argument(&door.shared.host, reason))?;
    let watcher = Watcher::begin(Arc::clone(&door.shared), wanted)
        .map_err(|error| Failure::argument(&door.shared.host, format!("the event log: {error}")))?;
    let pieces = stream::unfold(watcher, |mut watcher| async {
        let piece = watcher.next().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), watcher))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    Ok((kind, Body::from_stream(pieces)).into_response())
}

/// What a watcher asked for.
#[derive(Debug)]
struct Wanted {
    subjects: Vec<Subject>,
    upstream: Option<Position>,
    module: Option<String>,
}

impl Wanted {
    fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self { subjects: Vec::new(), upstream: None, module: None };
        let (mut kinds, mut from) = ("messages,upstream".to_owned(), Position::Latest);
        for (name, value) in pairs(query) {
            match name.as_str() {
                "kinds" => kinds = value,
                "from" => from = position(&value)?,
                "module" => wanted.module = Some(value).filter(|module| !module.is_empty()),
                _ => {}
            }
        }
        for kind in kinds.split(',') {
            match kind {
                "messages" => wanted.subjects.push(Subject::Messages),
                "twins" => wanted.subjects.push(Subject::Twins),
                "methods" => wanted.subjects.push(Subject::Methods),
                "connections" => wanted.subjects.push(Subject::Connections),
                "upstream" => wanted.upstream = Some(from),
                other => {
                    return Err(format!(
                        "kinds: {other:?} is none of messages, upstream, twins, methods, connections"
                    ));
                }
            }
        }
        Ok(wanted)
    }
}

fn position(text: &str) -> Result<Position, String> {
    match text {
        "earliest" => Ok(Position::Earliest),
        "latest" | "" => Ok(Position::Latest),
        time => time.parse().map(Position::After).map_err(|_| {
            format!("from: {time:?} is neither earliest, latest nor a time such as 2026-01-02T03:04:05Z")
        }),
    }
}

/// One who watches.
struct Watcher {
    shared: Arc<Shared>,
    tap: Option<Tap>,
    /// The next number of each partition; empty if upstream is not wanted.
    cursors: Vec<(u8, u64)>,
    module: Option<String>,
    news: Arc<Notify>,
    /// Whether the store will tell when the log has grown.
    armed: Arc<AtomicBool>,
}

impl Watcher {
    fn begin(shared: Arc<Shared>, wanted: Wanted) -> std::io::Result<Self> {
        let news = Arc::new(Notify::new());
        let mut cursors = Vec::new();
        let mut core = shared.core();
        if let Some(position) = wanted.upstream {
            for partition in 0..Core::PARTITIONS {
                cursors.push((partition, core.event_position(partition, position)?));
            }
        }
        let ringer = Arc::clone(&news);
        let tap = (!wanted.subjects.is_empty())
            .then(|| core.tap(&wanted.subjects, Arc::new(move || ringer.notify_one())));
        drop(core);
        Ok(Self { shared, tap, cursors, module: wanted.module, news, armed: Arc::default() })
    }

    /// The next lines; `None` when the hub ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.arm(); // before looking, so that nothing comes in between unheard
            let lines = self.look();
            if !lines.is_empty() {
                return Some(Bytes::from(lines));
            }
            tokio::select! {
                biased;
                () = self.shared.host.stop.stopped() => return None,
                () = self.news.notified() => {}
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(Bytes::from_static(b"\n")),
            }
        }
    }

    fn arm(&self) {
        if self.cursors.is_empty() || self.armed.swap(true, Ordering::AcqRel) {
            return;
        }
        let (armed, news) = (Arc::clone(&self.armed), Arc::clone(&self.news));
        self.shared.store.on_events(Arc::new(move || {
            armed.store(false, Ordering::Release);
            news.notify_one();
        }));
    }

    fn look(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(tap) = &self.tap {
            let glimpse = tap.take();
            if glimpse.lost > 0 {
                lines::put(&mut out, &json!({"event": "lost", "lost": glimpse.lost}));
            }
            for seen in glimpse.seen.iter().filter(|seen| lines::concerns(seen, self.module.as_deref())) {
                lines::put(&mut out, &lines::seen(seen));
            }
        }
        self.look_upstream(&mut out);
        out
    }

    fn look_upstream(&mut self, out: &mut Vec<u8>) {
        let mut events = Vec::new();
        let core = self.shared.core();
        for (partition, next) in &mut self.cursors {
            match core.events(*partition, *next, PIECE_MAX) {
                Ok(read) => {
                    if let Some(last) = read.last() {
                        *next = last.sequence + 1;
                        if read.len() == PIECE_MAX {
                            self.news.notify_one(); // there may be more at once
                        }
                    }
                    events.extend(in_turn(read));
                }
                Err(error) => tracing::warn!(%error, partition, "the event log cannot be read"),
            }
        }
        drop(core);
        events.sort_by_key(|(turn, _)| *turn); // stable: a partition's own order stays
        let module = self.module.as_deref();
        for (_, event) in
            events.iter().filter(|(_, event)| module.is_none() || event.from.module_id() == module)
        {
            lines::put(out, &lines::upstream(event));
        }
    }
}

/// The events of one partition, each with the moment at which it stands among those of the others: never before the
/// one in front of it, even if the wall clock was set back between the two.
fn in_turn(events: Vec<Event>) -> impl Iterator<Item = (Timestamp, Event)> {
    events.into_iter().scan(Timestamp::MIN, |latest, event| {
        *latest = event.enqueued.max(*latest);
        Some((*latest, event))
    })
}

/// `GET /isotherm/v1/status`: what is connected, what waits, what happened.
pub(crate) async fn status(State(door): State<Door>, headers: HeaderMap) -> Answer<Json<Value>> {
    door.authorize(&headers, Right::ServiceConnect, "/")?;
    let shared = &door.shared;
    let core = shared.core();
    let queues: Vec<Value> = core
        .queues()
        .iter()
        .map(|queue| json!({"endpoint": queue.endpoint, "priority": queue.priority, "length": queue.length}))
        .collect();
    let connected: Vec<String> = core
        .identities()
        .iter()
        .filter(|who| core.connected(who))
        .take(CONNECTED_MAX)
        .map(ToString::to_string)
        .collect();
    let counters: serde_json::Map<String, Value> =
        core.counters().list().into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
    let upstream = shared.upstream.get().map(|way| way.status(|it| core.partition(it).next));
    Ok(Json(json!({
        "queued": core.held(),
        "queues": queues,
        "connected": connected,
        "connections": shared.room.open(),
        "counters": counters,
        "doors": shared.counters.snapshot(),
        "routes": core.configuration_status().err().unwrap_or_else(|| "ok".to_owned()),
        "store": {
            "queuesBytes": shared.store.queues_bytes(),
            "eventsBytes": shared.store.events_bytes(),
            "refusing": shared.store.refusing() || shared.store.is_upstream_full(),
            "upstreamFull": shared.store.is_upstream_full(),
            "trouble": shared.store.trouble(),
        },
        "upstream": upstream,
    })))
}

#[cfg(test)]
mod tests {
    use isotherm_iothub::{Identity, Message};

    use super::*;
    use crate::core::EventSource;

    #[test]
    fn a_clock_that_is_set_back_does_not_turn_a_partitions_order() {
        let event = |sequence, second| Event {
            partition: 0,
            sequence,
            enqueued: Timestamp::from_second(second).unwrap(),
            source: EventSource::Telemetry,
            from: Identity::device("d").unwrap(),
            generation: String::new(),
            fresh: false,
            message: Message::default(),
        };
        let mut events: Vec<_> = in_turn(vec![event(1, 100), event(2, 40), event(3, 41)]).collect();
        events.sort_by_key(|(turn, _)| *turn);
        let order: Vec<u64> = events.iter().map(|(_, event)| event.sequence).collect();
        assert_eq!(order, [1, 2, 3]);
    }

    #[test]
    fn a_watch_names_its_kinds_or_hears_which_there_are() {
        let wanted = Wanted::parse("kinds=upstream,twins&from=earliest&module=filter").unwrap();
        assert_eq!(wanted.upstream, Some(Position::Earliest));
        assert_eq!(wanted.subjects, [Subject::Twins]);
        assert_eq!(wanted.module.as_deref(), Some("filter"));
        assert!(Wanted::parse("kinds=all").unwrap_err().contains("messages, upstream"));
        assert!(Wanted::parse("from=yesterday").unwrap_err().contains("earliest"));
    }
}
