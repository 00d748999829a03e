//! A stream of numbered readings: a sender, a receiver, and what they share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use isotherm_host::{BoxStream, Flow, Host, Pilot, drive};
use isotherm_proto::{Celsius, Reading};
use tokio::task::JoinHandle;

use super::talk::{Heard, Talk};

/// How long the other side may take to let us in, or to deliver what is on its way at the end.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// What sender and receiver of one stream share.
#[derive(Debug, Default)]
pub(super) struct Board {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    received: AtomicU64,
    /// How many may be sent: those that are due, or all.
    due: AtomicU64,
    sender_ready: AtomicBool,
    receiver_ready: AtomicBool,
    /// The sender waits for a change of this board.
    waiting: AtomicBool,
    waker: Mutex<Option<Waker>>,
    ledger: Mutex<Ledger>,
    /// When the first message was due, and how long after it the next one.
    schedule: OnceLock<(Instant, Duration)>,
}

/// What came, by its numbers.
#[derive(Debug, Default, Clone)]
pub(super) struct Ledger {
    last: u64,
    /// Numbers skipped, numbers that came again or late, bodies without a number.
    pub(super) faults: u64,
    refused: Option<String>,
    /// From when a message was due until it came, in nanoseconds.
    pub(super) latencies: Vec<u64>,
}

impl Ledger {
    /// Takes the next number down.
    pub(super) fn take(&mut self, sequence: Option<u64>) {
        match sequence {
            Some(sequence) if sequence > self.last => {
                self.faults += sequence - self.last - 1;
                self.last = sequence;
            }
            _ => self.faults += 1,
        }
    }
}

impl Board {
    /// Lets the sender send all it can.
    pub(super) fn open(&self) {
        self.due.store(u64::MAX, Ordering::Release);
        self.wake();
    }

    /// Lets the sender send no more.
    pub(super) fn close(&self) {
        self.due.store(0, Ordering::Release);
    }

    /// Has one message fall due every `interval`, `count` of them, by a thread that does nothing else.
    pub(super) fn pace(self: &Arc<Self>, host: &Host, interval: Duration, count: u64) {
        let base = host.now() + Duration::from_millis(20);
        let _ = self.schedule.set((base, interval));
        let (board, host) = (Arc::clone(self), host.clone());
        thread::spawn(move || {
            for number in 0..count {
                let due = base + interval * u32::try_from(number).expect("a run is short");
                while let Some(left) = due.checked_duration_since(host.now()).filter(|left| !left.is_zero()) {
                    thread::park_timeout(left);
                }
                board.due.store(number + 1, Ordering::Release);
                board.wake();
            }
        });
    }

    /// When that message was due, if they fall due one after the other.
    pub(super) fn due_at(&self, number: u64) -> Option<Instant> {
        let (base, interval) = self.schedule.get()?;
        Some(*base + *interval * u32::try_from(number.saturating_sub(1)).unwrap_or(0))
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        if self.waiting.swap(false, Ordering::AcqRel)
            && let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            waker.wake();
        }
    }

    fn refuse(&self, why: String) {
        self.ledger().refused.get_or_insert(why);
    }
}

/// A reading with a place for its number at the end, so that the next one is made by writing the number.
#[derive(Debug, Clone)]
pub(super) struct Form {
    head: Vec<u8>,
}

impl Form {
    /// A reading above every threshold of these runs, stamped now: numbers may begin at 1 again.
    pub(super) fn new(host: &Host) -> Self {
        Self::of(host, "bench")
    }

    /// The same from a sensor of this name.
    pub(super) fn of(host: &Host, sensor_id: &str) -> Self {
        let celsius = Celsius::new(31.5).expect("a warm day");
        let reading = Reading { sensor_id: sensor_id.into(), sequence: 0, celsius, at: host.wall() };
        let mut head = reading.encode().to_vec();
        head.push(0x20); // field 4, a varint
        Self { head }
    }

    pub(super) fn fill(&self, mut number: u64, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&self.head);
        while number >= 0x80 {
            into.push(number as u8 | 0x80);
            number >>= 7;
        }
        into.push(number as u8);
    }

    /// The number of a reading of this form.
    pub(super) fn number(&self, payload: &[u8]) -> Option<u64> {
        let rest = payload.strip_prefix(&self.head[..])?;
        let bytes = rest.iter().take(9).enumerate();
        Some(bytes.fold(0, |number, (at, byte)| number | u64::from(byte & 0x7f) << (7 * at)))
    }
}

/// How much may be on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    /// Sent and not acknowledged.
    pub(super) unacknowledged: u64,
    /// Sent and not received at the other end; `None` when nobody receives.
    pub(super) unreceived: Option<u64>,
}

/// Sends.
struct Sender {
    board: Arc<Board>,
    topic: Vec<u8>,
    form: Form,
    windows: Windows,
    sent: u64,
    acknowledged: u64,
    open: bool,
    payload: Vec<u8>,
}

impl Sender {
    fn may_send(&self) -> bool {
        let received = || self.board.received();
        self.open
            && self.sent - self.acknowledged < self.windows.unacknowledged
            && self.sent < self.board.due.load(Ordering::Acquire)
            && self.windows.unreceived.is_none_or(|most| self.sent.saturating_sub(received()) < most)
    }

    fn send<T: Talk>(&mut self, session: &mut T) {
        while self.may_send() {
            self.sent += 1;
            self.form.fill(self.sent, &mut self.payload);
            session.publish(&self.topic, &self.payload);
        }
        self.board.sent.store(self.sent, Ordering::Release);
    }
}

impl<T: Talk> Pilot<T> for Sender {
    fn on_event(&mut self, _: Instant, event: Heard, _: &mut T) -> Flow {
        match event {
            Heard::Open => {
                self.open = true;
                self.board.sender_ready.store(true, Ordering::Release);
            }
            Heard::Acknowledged => {
                self.acknowledged += 1;
                self.board.acknowledged.store(self.acknowledged, Ordering::Release);
            }
            Heard::Refused(why) => {
                self.board.refuse(why);
                return Flow::End;
            }
            Heard::Subscribed | Heard::Message(_) => {}
        }
        Flow::Go
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.may_send() {
            return Poll::Ready(());
        }
        *self.board.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        self.board.waiting.store(true, Ordering::Release);
        if self.may_send() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn on_wake(&mut self, _: Instant, session: &mut T) -> Flow {
        self.send(session);
        Flow::Go
    }
}

/// Receives, and compares the numbers.
struct Receiver {
    host: Host,
    board: Arc<Board>,
    filter: String,
    form: Form,
    received: u64,
}

impl Receiver {
    fn take(&mut self, payload: &[u8]) {
        let number = self.form.number(payload);
        let mut ledger = self.board.ledger();
        ledger.take(number);
        if let (Some((base, interval)), Some(number)) = (self.board.schedule.get(), number) {
            let due = *base + *interval * u32::try_from(number.saturating_sub(1)).unwrap_or(0);
            let late = self.host.now().saturating_duration_since(due);
            ledger.latencies.push(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
        }
        drop(ledger);
        self.received += 1;
        self.board.received.store(self.received, Ordering::Release);
        self.board.wake();
    }
}

impl<T: Talk> Pilot<T> for Receiver {
    fn on_event(&mut self, _: Instant, event: Heard, session: &mut T) -> Flow {
        match event {
            Heard::Open => session.subscribe(&self.filter),
            Heard::Subscribed => self.board.receiver_ready.store(true, Ordering::Release),
            Heard::Message(payload) => self.take(&payload),
            Heard::Refused(why) => {
                self.board.refuse(why);
                return Flow::End;
            }
            Heard::Acknowledged => {}
        }
        Flow::Go
    }

    fn poll_wake(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn on_wake(&mut self, _: Instant, _: &mut T) -> Flow {
        Flow::Go
    }
}

/// One stream, running until dropped.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) board: Arc<Board>,
    tasks: Vec<JoinHandle<()>>,
    /// Without one, what is acknowledged is the end of it.
    receives: bool,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self { board: Arc::default(), tasks: Vec::new(), receives: false }
    }

    pub(super) fn sender<T: Talk + Send + 'static>(
        &mut self,
        (stream, mut session): (BoxStream, T),
        topic: &str,
        form: &Form,
        windows: Windows,
    ) {
        let mut sender = Sender {
            board: Arc::clone(&self.board),
            topic: topic.as_bytes().to_vec(),
            form: form.clone(),
            windows,
            sent: 0,
            acknowledged: 0,
            open: false,
            payload: Vec::new(),
        };
        self.tasks.push(tokio::spawn(async move {
            let ended = drive(stream, &mut session, &mut sender).await;
            sender.board.refuse(format!("the sender's connection ended: {ended:?}"));
        }));
    }

    pub(super) fn receiver<T: Talk + Send + 'static>(
        &mut self,
        host: &Host,
        (stream, mut session): (BoxStream, T),
        filter: &str,
        form: &Form,
    ) {
        self.receives = true;
        let mut receiver = Receiver {
            host: host.clone(),
            board: Arc::clone(&self.board),
            filter: filter.to_owned(),
            form: form.clone(),
            received: 0,
        };
        self.tasks.push(tokio::spawn(async move {
            let ended = drive(stream, &mut session, &mut receiver).await;
            receiver.board.refuse(format!("the receiver's connection ended: {ended:?}"));
        }));
    }

    /// How many went the whole way.
    pub(super) fn done(&self) -> u64 {
        if self.receives { self.board.received() } else { self.board.acknowledged() }
    }

    /// Waits until both ends are let in.
    pub(super) async fn ready(&self, host: &Host) -> Result<(), String> {
        let board = &self.board;
        let receives = self.receives;
        self.until(host, "be let in", move |board| {
            board.sender_ready.load(Ordering::Acquire)
                && (!receives || board.receiver_ready.load(Ordering::Acquire))
        })
        .await
        .map_err(|why| format!("{why} ({} sent)", board.sent()))
    }

    /// Waits until all that was sent has arrived and is acknowledged.
    pub(super) async fn settled(&self, host: &Host) -> Result<(), String> {
        let receives = self.receives;
        self.until(host, "see everything arrive", move |board| {
            let sent = board.sent();
            board.acknowledged() >= sent && (!receives || board.received() >= sent)
        })
        .await
    }

    /// Numbers lost, doubled or out of order, once it has settled.
    pub(super) fn faults(&self) -> u64 {
        let ledger = self.board.ledger();
        let missing = if self.receives { self.board.sent().saturating_sub(ledger.last) } else { 0 };
        ledger.faults + missing
    }

    async fn until(&self, host: &Host, what: &str, done: impl Fn(&Board) -> bool) -> Result<(), String> {
        let end = host.now() + PATIENCE;
        while !done(&self.board) {
            if let Some(why) = self.board.ledger().refused.clone() {
                return Err(why);
            }
            if host.now() > end {
                let (sent, there) = (self.board.sent(), self.done());
                return Err(format!("waited in vain to {what}: {there} of {sent} arrived"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_a_reading_and_tells_its_number() {
        let form = Form::new(&Host::real());
        let mut payload = Vec::new();
        for number in [1, 127, 128, 300_000, u64::from(u32::MAX)] {
            form.fill(number, &mut payload);
            assert_eq!(form.number(&payload), Some(number));
            assert_eq!(Reading::decode(&payload).unwrap().sequence, number);
        }
        assert_eq!(form.number(b"something else"), None);
    }

    #[test]
    fn a_ledger_sees_what_is_lost_doubled_or_out_of_order() {
        let faults = |numbers: &[u64]| {
            let mut ledger = Ledger::default();
            numbers.iter().for_each(|number| ledger.take(Some(*number)));
            ledger.faults
        };
        assert_eq!(faults(&[1, 2, 3]), 0);
        assert_eq!(faults(&[1, 3]), 1);
        assert_eq!(faults(&[1, 2, 2]), 1);
        assert_eq!(faults(&[1, 3, 2]), 2);
    }
}
