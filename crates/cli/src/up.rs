//! `isotherm up`: a whole site in one process, on real sockets, watched while it runs.

mod docker;
mod picture;
mod site;
mod terminal;
mod view;

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::time;

use crate::args::{Kind, UpArgs};
use crate::context::Context;
use crate::decode::{decode, plain};
use crate::hub::ready_event;
use crate::output::Failure;
use crate::service::Request;
use crate::watch::{object, watch_path};

pub(crate) use docker::Pull;

use picture::Picture;
use site::{Accounts, Site};
use terminal::{Key, Terminal};

/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How often `--until-end` asks whether all is done.
const PROGRESS: Duration = Duration::from_millis(50);
/// How far ↑ and ↓ move the threshold, °C.
const THRESHOLD_STEP: f64 = 0.5;
/// What the watch shows, and so what the picture is made of.
const KINDS: [Kind; 4] = [Kind::Messages, Kind::Upstream, Kind::Twins, Kind::Connections];

/// Runs the site until its end, Ctrl-C or the file's, and says what became of every reading.
pub(crate) async fn up(context: &Context, args: UpArgs) -> Result<(), Failure> {
    if args.docker {
        return docker::up(context, &args).await;
    }
    let looks = context.output.terminal;
    context.log(if looks { "off" } else { "warn" })?;
    let started = context.host.now();
    let site = Site::start(context, &args).await?;
    context.stop_on_signals(&context.host.stop)?;
    let lines = site.service.lines(Request::get(&watch_path(&KINDS, "latest", None))).await?;
    let mut run =
        Run { context, site, lines, picture: Picture::default(), started, aim: None, note: String::new() };
    run.say_ready()?;
    run.look_at_twins().await?;
    run.site.start_modules();
    let terminal = if looks { Some(Terminal::enter()?) } else { None };
    let ended = run.follow(&args, terminal).await;
    let summary = run.end().await;
    ended.and(summary)
}

struct Run<'a> {
    context: &'a Context,
    site: Site,
    lines: isotherm_host::http::Lines,
    picture: Picture,
    started: Instant,
    /// Where ↑ and ↓ have moved the threshold, until the filter says that it is there.
    aim: Option<f64>,
    note: String,
}

impl Run<'_> {
    fn say_ready(&self) -> Result<(), Failure> {
        if self.context.output.terminal {
            return Ok(());
        }
        let ready = self.site.hub.ready();
        let elapsed = self.context.host.now().duration_since(self.started).as_millis();
        let mut hub = ready_event(ready);
        if let Value::Object(hub) = &mut hub {
            hub.remove("event");
        }
        let event =
            json!({"event": "ready", "elapsedMs": u64::try_from(elapsed).unwrap_or(u64::MAX), "hub": hub});
        let sentence = format!(
            "ready after {elapsed} ms: {} on {}, mqtts {}, https {}; Ctrl-C ends it",
            ready.host_name, ready.address, ready.ports.mqtts, ready.ports.https
        );
        Ok(self.context.output.say(&event, sentence)?)
    }

    /// The watch tells what changes; what is there already is asked for once.
    async fn look_at_twins(&mut self) -> Result<(), Failure> {
        for module in ["sensor", "filter"] {
            let path = self.site.service.path("/twins", module).await?;
            let twin = self.site.service.json(Request::get(&path)).await?;
            let identity = self.site.service.identity(module).await?;
            let properties = &twin["properties"];
            let line = json!({"event": "twin", "identity": identity.as_str(),
                "desired": properties["desired"], "reported": properties["reported"]});
            if let Value::Object(line) = line {
                self.picture.take(&line, self.context.host.now());
            }
        }
        Ok(())
    }

    /// Shows what passes until something ends it.
    async fn follow(&mut self, args: &UpArgs, mut terminal: Option<Terminal>) -> Result<(), Failure> {
        let mut frame = time::interval(FRAME);
        let mut progress = time::interval(PROGRESS);
        progress.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let deadline = args.duration.map(|duration| time::Instant::now() + duration);
        let stop = self.context.host.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.stopped() => return Ok(()),
                () = until(deadline) => return Ok(()),
                failed = self.site.module_ended() => return Err(failed),
                line = self.lines.next() => match line? {
                    Some(line) => self.show(&line)?,
                    None => return Err(Failure::Nobody("the hub ended".to_owned())),
                },
                key = next_key(&mut terminal) => match key? {
                    Key::End => return Ok(()),
                    Key::Up => self.move_threshold(THRESHOLD_STEP).await,
                    Key::Down => self.move_threshold(-THRESHOLD_STEP).await,
                },
                _ = progress.tick(), if args.until_end => {
                    if self.site.is_done().await? {
                        return Ok(());
                    }
                }
                _ = frame.tick(), if terminal.is_some() => self.draw(&mut terminal)?,
            }
        }
    }

    fn show(&mut self, line: &str) -> Result<(), Failure> {
        let Some(line) = object(line).map(decode) else { return Ok(()) };
        let fresh = self.picture.take(&line, self.context.host.now());
        let output = self.context.output;
        if output.terminal || !fresh || !is_for_readers(&line, output.json) {
            return Ok(());
        }
        let sentence = plain(&line);
        Ok(output.say(&Value::Object(line), sentence)?)
    }

    fn draw(&self, terminal: &mut Option<Terminal>) -> Result<(), Failure> {
        let Some(terminal) = terminal else { return Ok(()) };
        let (now, ready) = (self.context.host.now(), self.site.hub.ready());
        let caption = view::Caption {
            hub: ready.host_name.clone(),
            ports: format!("mqtts {}  https {}", ready.ports.mqtts, ready.ports.https),
            note: self.note.clone(),
            running: now.duration_since(self.started),
            color: self.context.output.color,
        };
        Ok(terminal.draw(|frame| view::draw(frame, &self.picture, &caption, now))?)
    }

    /// A change of the twin like any other: through the service API, and back by way of the filter's report.
    async fn move_threshold(&mut self, by: f64) {
        if self.aim == self.picture.threshold {
            self.aim = None; // it has arrived, so what others patch since then counts again
        }
        let Some(threshold) = self.aim.or(self.picture.threshold) else { return };
        self.aim = Some(threshold + by);
        let patched = self.site.patch_threshold(threshold + by).await;
        self.note = patched.err().map(|failure| format!(" {}", failure.sentence())).unwrap_or_default();
    }

    /// Stops sensor, filter and hub in the order of the flow, so that what is under way arrives.
    async fn end(mut self) -> Result<(), Failure> {
        let accounts = self.site.wind_down().await;
        self.read_rest(&accounts).await?;
        self.say_summary(&accounts)?;
        self.site.close().await
    }

    /// What went upstream while the modules ended.
    async fn read_rest(&mut self, accounts: &Accounts) -> Result<(), Failure> {
        while self.picture.delivered.total - self.picture.past_the_filter < accounts.forwarded {
            // For as long as they come: on a busy machine the last of them may take a while.
            match time::timeout(site::PATIENCE, self.lines.next()).await {
                Ok(line) => match line? {
                    Some(line) => self.show(&line)?,
                    None => break,
                },
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn say_summary(&self, accounts: &Accounts) -> Result<(), Failure> {
        let delivered = self.picture.delivered.total;
        let elsewhere = accounts.elsewhere + self.picture.past_the_filter;
        let event = json!({
            "event": "summary",
            "sensed": accounts.sensed,
            "elsewhere": elsewhere,
            "below": accounts.below,
            "delivered": delivered,
            "repeats": self.picture.repeats + accounts.repeats,
            "held": accounts.held,
            "refused": accounts.refused,
            "carried": accounts.carried,
        });
        let sentence = format!(
            "{} sensed{} = {delivered} delivered + {} below + {} held{}",
            accounts.sensed,
            if elsewhere > 0 { format!(" + {elsewhere} from elsewhere") } else { String::new() },
            accounts.below,
            accounts.held,
            remarks(accounts, self.picture.repeats),
        );
        Ok(self.context.output.say(&event, sentence)?)
    }
}

fn remarks(accounts: &Accounts, repeats: u64) -> String {
    let repeats = repeats + accounts.repeats;
    let named = [("carried over", accounts.carried), ("refused", accounts.refused), ("repeats", repeats)];
    let said: Vec<String> =
        named.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect();
    if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) }
}

/// Scripts get what left the site; a person's plain lines tell of twins and connections too.
fn is_for_readers(line: &Map<String, Value>, json: bool) -> bool {
    match line.get("event").and_then(Value::as_str) {
        Some("upstream") => true,
        Some("message") => !json,
        Some(_) => true,
        None => false,
    }
}

async fn until(deadline: Option<time::Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn next_key(terminal: &mut Option<Terminal>) -> Result<Key, Failure> {
    match terminal {
        Some(terminal) => terminal.key().await.ok_or_else(|| Failure::No("the terminal is gone".to_owned())),
        None => std::future::pending().await,
    }
}
