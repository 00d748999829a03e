//! Our client meets a stranger: mosquitto, if it is installed. In real time, on a port that the system chose.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use isotherm_client::{Client, Event};
use isotherm_host::{Env, Host};
use isotherm_iothub::Message;
use tokio::time::timeout;

/// Says what could not run here and why, past the test harness, which keeps what a passing test prints to itself.
macro_rules! skipped {
    ($($why:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: {}", format_args!($($why)*));
    }};
}

/// Longer than anything here takes on the slowest machine.
const LONG: Duration = Duration::from_secs(60);

struct Mosquitto {
    process: Child,
    folder: PathBuf,
    port: u16,
}

impl Mosquitto {
    /// `None` where there is none.
    fn start(name: &str) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("isotherm-interop-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n");
        std::fs::write(folder.join("mosquitto.conf"), config).unwrap();
        let process = Self::spawn(&folder)?;
        Some(Self { process, folder, port })
    }

    fn spawn(folder: &Path) -> Option<Child> {
        let found = ["mosquitto", "/usr/sbin/mosquitto"].into_iter().find_map(|program| {
            let mut command = Command::new(program);
            command.arg("-c").arg(folder.join("mosquitto.conf")).stderr(Stdio::null()).stdout(Stdio::null());
            command.spawn().ok()
        });
        if found.is_none() {
            skipped!("mosquitto is not installed");
        }
        found
    }

    async fn client(&self, name: &str, input: &str, output: &str) -> Client {
        let env = Env::of([
            ("BROKER_URL", format!("mqtt://127.0.0.1:{}", self.port)),
            ("BROKER_CLIENT_ID", name.to_owned()),
            ("INPUT_TOPIC", input.to_owned()),
            ("OUTPUT_TOPIC", output.to_owned()),
            ("ISOTHERM_STATE", self.folder.to_str().unwrap().to_owned()),
        ]);
        Client::connect(&Host::real().with_env(env)).await.unwrap()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn until_connected(client: &mut Client) {
    while !client.is_connected() {
        timeout(LONG, client.next()).await.expect("mosquitto answers");
    }
}

/// Passes `count` messages on, then reads on until the outbox is empty.
async fn forward(mut client: Client, count: usize) {
    let mut passed = 0;
    while passed < count {
        if let Event::Input { message, delivery, .. } =
            timeout(LONG, client.next()).await.expect("messages come")
        {
            client.post("", &message).unwrap();
            client.accept(delivery);
            passed += 1;
        }
    }
    assert!(client.flush(LONG).await);
}

#[tokio::test]
async fn ten_thousand_messages_pass_through_a_stranger_twice_in_order() {
    const COUNT: usize = 10_000;
    let Some(broker) = Mosquitto::start("through") else { return };
    let mut last = broker.client("last", "b", "nowhere").await;
    until_connected(&mut last).await;
    let mut middle = broker.client("middle", "a", "b").await;
    until_connected(&mut middle).await;
    let middle = tokio::spawn(forward(middle, COUNT));
    let mut first = broker.client("first", "nowhere", "a").await;
    for batch in (0..COUNT).collect::<Vec<_>>().chunks(500) {
        let messages = batch.iter().map(|number| Message::new(number.to_string())).collect();
        first.send_all("", messages, None).await.unwrap();
    }
    for number in 0..COUNT {
        let body = loop {
            if let Event::Input { message, delivery, .. } =
                timeout(LONG, last.next()).await.expect("they arrive")
            {
                last.accept(delivery);
                break message.body;
            }
        };
        assert_eq!(body, number.to_string().as_bytes());
    }
    timeout(LONG, middle).await.unwrap().unwrap();
    assert!(first.flush(LONG).await);
    assert_eq!(first.stats().reconnects, 0);
}

#[tokio::test]
async fn what_was_sent_while_the_stranger_was_dead_arrives_when_it_is_back() {
    let Some(mut broker) = Mosquitto::start("dead") else { return };
    let mut last = broker.client("last", "a", "nowhere").await;
    let mut first = broker.client("first", "nowhere", "a").await;
    until_connected(&mut last).await;
    until_connected(&mut first).await;
    broker.process.kill().unwrap();
    broker.process.wait().unwrap();
    while first.is_connected() || last.is_connected() {
        let _ = timeout(Duration::from_millis(20), async { tokio::join!(first.next(), last.next()) }).await;
    }
    for number in 0..100 {
        first.send("", Message::new(number.to_string()), None).await.unwrap();
    }
    drop(first); // its process ends, too
    broker.process = Mosquitto::spawn(&broker.folder).unwrap();
    until_connected(&mut last).await; // a broker that keeps nothing needs somebody to give them to
    let first = broker.client("first", "nowhere", "a").await;
    assert_eq!(first.held(), 100);
    let mut next = 0;
    while next < 100 {
        if let Event::Input { message, delivery, .. } = timeout(LONG, last.next()).await.expect("they arrive")
        {
            last.accept(delivery);
            let number: u64 = std::str::from_utf8(&message.body).unwrap().parse().unwrap();
            assert!(number <= next, "{number} after {next}: nothing is left out");
            next = next.max(number + 1);
        }
    }
}
