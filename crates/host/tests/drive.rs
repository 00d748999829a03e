//! The loop that moves bytes, under a session small enough to be understood at a glance.

use bytes::{BufMut, BytesMut};
use isotherm_host::{Ended, Flow, Pilot, TRANSMIT_BYTES_MAX, WRITE_STALL, drive};
use isotherm_protocol::{Malformed, Session};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time;

/// Lines in, lines out. Every line is an event; `!` alone is what a peer may not say.
#[derive(Default)]
struct Lines {
    heard: VecDeque<String>,
    to_say: Vec<u8>,
    timeout: Option<Instant>,
    timeouts: u32,
    calls: u32,
}

impl Session for Lines {
    type Event = String;
    type Command = String;

    fn handle_bytes(&mut self, _now: Instant, bytes: &mut BytesMut) -> Result<(), Malformed> {
        self.calls += 1;
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let line = bytes.split_to(end + 1).freeze();
            if &line[..] == b"!\n" {
                self.to_say.put_slice(b"that was wrong\n");
                return Err(Malformed::new("bang", "a line is not a bang"));
            }
            self.heard.push_back(String::from_utf8_lossy(&line[..end]).into());
        }
        Ok(())
    }

    fn handle_command(&mut self, _now: Instant, line: String) {
        self.to_say.put_slice(line.as_bytes());
        self.to_say.put_u8(b'\n');
    }

    fn handle_timeout(&mut self, _now: Instant) {
        self.timeout = None;
        self.timeouts += 1;
        self.heard.push_back("timeout".into());
    }

    fn poll_event(&mut self) -> Option<String> {
        self.heard.pop_front()
    }

    fn poll_transmit(&mut self, into: &mut BytesMut) {
        into.put_slice(&self.to_say);
        self.to_say.clear();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }
}

/// What a test can reach of a pilot while it flies.
#[derive(Default)]
struct Desk {
    heard: Vec<String>,
    wakes: u32,
    /// What to say at the next wake.
    say: Vec<String>,
    closed_to_reading: bool,
    waker: Option<Waker>,
}

/// Echoes; `end` ends.
#[derive(Clone, Default)]
struct Echo(Arc<Mutex<Desk>>);

impl Echo {
    fn desk<T>(&self, work: impl FnOnce(&mut Desk) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    fn wake_with(&self, work: impl FnOnce(&mut Desk)) {
        let waker = self.desk(|desk| {
            work(desk);
            desk.waker.take()
        });
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Pilot<Lines> for Echo {
    fn on_event(&mut self, now: Instant, event: String, session: &mut Lines) -> Flow {
        self.desk(|desk| desk.heard.push(event.clone()));
        session.handle_command(now, event.clone());
        if event == "end" { Flow::End } else { Flow::Go }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.desk(|desk| {
            if !desk.say.is_empty() {
                return Poll::Ready(());
            }
            desk.waker = Some(cx.waker().clone());
            Poll::Pending
        })
    }

    fn on_wake(&mut self, now: Instant, session: &mut Lines) -> Flow {
        let say = self.desk(|desk| {
            desk.wakes += 1;
            std::mem::take(&mut desk.say)
        });
        say.into_iter().for_each(|line| session.handle_command(now, line));
        Flow::Go
    }

    fn may_read(&self) -> bool {
        self.desk(|desk| !desk.closed_to_reading)
    }
}

/// Drives a session in a task; the peer's end of the stream comes back.
fn driven(buffer: usize, session: Lines) -> (DuplexStream, Echo, tokio::task::JoinHandle<(Ended, Lines)>) {
    let (near, far) = duplex(buffer);
    let echo = Echo::default();
    let mut pilot = echo.clone();
    let task = tokio::spawn(async move {
        let mut session = session;
        let ended = drive(Box::new(near), &mut session, &mut pilot).await;
        (ended, session)
    });
    (far, echo, task)
}

async fn read_exactly(peer: &mut DuplexStream, expected: &str) {
    let mut bytes = vec![0; expected.len()];
    peer.read_exact(&mut bytes).await.unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[tokio::test]
async fn what_is_said_comes_back_and_the_peers_leaving_ends_it() {
    let (mut peer, _, task) = driven(1024, Lines::default());
    peer.write_all(b"a\nbc\n").await.unwrap();
    read_exactly(&mut peer, "a\nbc\n").await;
    drop(peer);
    assert!(matches!(task.await.unwrap().0, Ended::PeerClosed));
}

#[tokio::test]
async fn a_stream_that_gathers_what_is_written_is_told_to_let_it_go() {
    let (near, mut peer) = duplex(1024);
    let task = tokio::spawn(async move {
        let gathering = tokio::io::BufStream::new(near); // as TLS and WebSocket may
        drive(Box::new(gathering), &mut Lines::default(), &mut Echo::default()).await
    });
    peer.write_all(b"hello\n").await.unwrap();
    let answered = time::timeout(Duration::from_secs(5), read_exactly(&mut peer, "hello\n")).await;
    answered.expect("the answer is flushed");
    drop(peer);
    task.await.unwrap();
}

#[tokio::test]
async fn a_packet_may_come_in_any_pieces() {
    let (mut peer, echo, task) = driven(1 << 20, Lines::default());
    let long = format!("{}\n", "x".repeat(20_000));
    let said = format!("one\n{long}two\n{long}{long}three\n");
    for piece in said.as_bytes().chunks(997) {
        peer.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    read_exactly(&mut peer, &said).await;
    drop(peer);
    task.await.unwrap();
    assert_eq!(echo.desk(|desk| desk.heard.len()), 6);
}

#[tokio::test]
async fn half_a_packet_is_kept_until_its_rest_comes() {
    let (mut peer, echo, _task) = driven(1024, Lines::default());
    peer.write_all(b"one\nha").await.unwrap();
    read_exactly(&mut peer, "one\n").await;
    peer.write_all(b"lf\n").await.unwrap();
    read_exactly(&mut peer, "half\n").await;
    assert_eq!(echo.desk(|desk| desk.heard.clone()), ["one", "half"]);
}

#[tokio::test(start_paused = true)]
async fn many_packets_read_at_once_are_answered_in_one_write() {
    // The peer's side counts writes by reading what is there each time the task has run to a stand-still.
    let (mut peer, _, _task) = driven(1 << 20, Lines::default());
    let said = "packet\n".repeat(1000);
    peer.write_all(said.as_bytes()).await.unwrap();
    let mut bytes = vec![0; 1 << 20];
    assert_eq!(peer.read(&mut bytes).await.unwrap(), said.len());
}

#[tokio::test]
async fn the_end_comes_after_all_that_was_to_be_said() {
    let (mut peer, _, task) = driven(16, Lines::default());
    peer.write_all(b"one\ntwo\nend\n").await.unwrap();
    peer.write_all(b"late\n").await.unwrap(); // not heard any more
    let mut heard = String::new();
    peer.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "one\ntwo\nend\n");
    drop(peer);
    assert!(matches!(task.await.unwrap().0, Ended::Finished));
}

#[tokio::test(start_paused = true)]
async fn a_malformed_peer_hears_why_and_is_let_go_even_if_it_stays() {
    let (mut peer, echo, task) = driven(1024, Lines::default());
    peer.write_all(b"fine\n").await.unwrap();
    read_exactly(&mut peer, "fine\n").await;
    peer.write_all(b"!\nmore\n").await.unwrap();
    let mut heard = String::new();
    peer.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "that was wrong\n");
    let begun = time::Instant::now();
    let (ended, _) = task.await.unwrap(); // the peer never closes its half
    assert!(matches!(ended, Ended::Malformed(why) if why.name() == "bang"));
    assert!(begun.elapsed() <= Duration::from_secs(1));
    assert_eq!(echo.desk(|desk| desk.heard.clone()), ["fine"]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_let_go_after_thirty_seconds() {
    let begun = time::Instant::now();
    let (mut peer, _, task) = driven(64, Lines::default());
    let flood = tokio::spawn(async move {
        while peer.write_all(b"I talk and never listen\n").await.is_ok() {}
        peer
    });
    assert!(matches!(task.await.unwrap().0, Ended::WriteStalled));
    let waited = begun.elapsed();
    assert!((WRITE_STALL..WRITE_STALL + Duration::from_secs(1)).contains(&waited), "{waited:?}");
    flood.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_gets_everything() {
    let (mut peer, _, task) = driven(64, Lines::default());
    let said = "0123456\n".repeat(40);
    let (mut from, mut to) = tokio::io::split(&mut peer);
    let slowly = async {
        let mut heard = Vec::new();
        while heard.len() < said.len() {
            time::sleep(WRITE_STALL - Duration::from_secs(1)).await;
            let mut bytes = [0; 32];
            let count = from.read(&mut bytes).await.unwrap();
            heard.extend_from_slice(&bytes[..count]);
        }
        heard
    };
    let (heard, sent) = tokio::join!(slowly, to.write_all(said.as_bytes()));
    sent.unwrap();
    assert_eq!(heard, said.as_bytes());
    assert!(!task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_taken_in_while_a_megabyte_waits_for_a_slow_peer() {
    let (mut peer, echo, _task) = driven(64, Lines::default());
    let megabyte = "x".repeat(TRANSMIT_BYTES_MAX + 100); // of which the stream's own buffer takes some
    echo.desk(|desk| desk.say = vec![megabyte.clone()]);
    peer.write_all(b"hello\n").await.unwrap(); // in the stream before it was full
    time::sleep(Duration::from_secs(1)).await;
    echo.wake_with(|desk| desk.say = vec!["again".into()]);
    peer.write_all(b"anybody?\n").await.unwrap();
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(echo.desk(|desk| (desk.wakes, desk.heard.len())), (1, 1));

    let mut heard = vec![0; "hello\n".len() + megabyte.len() + 1 + "anybody?\nagain\n".len()];
    peer.read_exact(&mut heard).await.unwrap();
    assert!(heard.ends_with(b"anybody?\nagain\n"));
    assert_eq!(echo.desk(|desk| desk.wakes), 2);
}

#[tokio::test(start_paused = true)]
async fn back_pressure_holds_reading_back_until_the_pilot_allows_it() {
    let (mut peer, echo, _task) = driven(1024, Lines::default());
    echo.desk(|desk| desk.closed_to_reading = true);
    peer.write_all(b"wait\n").await.unwrap();
    time::sleep(Duration::from_secs(5)).await;
    assert!(echo.desk(|desk| desk.heard.is_empty()));
    echo.wake_with(|desk| {
        desk.closed_to_reading = false;
        desk.say.push("go on".into());
    });
    read_exactly(&mut peer, "wait\ngo on\n").await;
}

#[tokio::test]
async fn a_wake_up_is_heard_while_the_peer_is_silent() {
    let (mut peer, echo, _task) = driven(1024, Lines::default());
    for line in ["one", "two"] {
        tokio::task::yield_now().await;
        echo.wake_with(|desk| desk.say.push(line.into()));
        read_exactly(&mut peer, &format!("{line}\n")).await;
    }
    assert_eq!(echo.desk(|desk| desk.wakes), 2);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_comes_when_it_is_due_and_once() {
    let begun = time::Instant::now();
    let due = begun.into_std() + Duration::from_secs(10);
    let (mut peer, _, task) = driven(1024, Lines { timeout: Some(due), ..Lines::default() });
    read_exactly(&mut peer, "timeout\n").await;
    assert_eq!(begun.elapsed().as_secs(), 10);
    time::sleep(Duration::from_secs(100)).await;
    drop(peer);
    assert_eq!(task.await.unwrap().1.timeouts, 1);
}

/// Hears and says nothing.
struct Deaf;

impl Pilot<Lines> for Deaf {
    fn on_event(&mut self, _now: Instant, _event: String, _session: &mut Lines) -> Flow {
        Flow::Go
    }

    fn poll_wake(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn on_wake(&mut self, _now: Instant, _session: &mut Lines) -> Flow {
        Flow::Go
    }
}

#[tokio::test]
async fn a_talker_does_not_starve_its_neighbours() {
    // All in one thread: this stream always has more to give, and no budget of tokio's ends it.
    let talker = tokio::io::join(tokio::io::repeat(b'\n'), tokio::io::sink());
    let task = tokio::spawn(async move { drive(Box::new(talker), &mut Lines::default(), &mut Deaf).await });
    tokio::task::yield_now().await;
    assert!(!task.is_finished());
    task.abort();
}
