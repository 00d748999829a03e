//! The terminal: taken over at the start, given back whatever happens.

use std::io;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

/// Keys typed ahead that are kept; more are ignored.
const KEYS_MAX: usize = 16;

/// What a person may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    End,
    Up,
    Down,
}

/// The whole screen, until it is dropped.
pub(crate) struct Terminal {
    screen: DefaultTerminal,
    keys: mpsc::Receiver<Key>,
}

impl Terminal {
    /// Takes the screen; a panic gives it back too.
    pub(crate) fn enter() -> io::Result<Self> {
        let screen = ratatui::try_init()?;
        let (send, keys) = mpsc::channel(KEYS_MAX);
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || read_keys(&send))?;
        Ok(Self { screen, keys })
    }

    pub(crate) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.screen.draw(render).map(|_| ())
    }

    /// The next key that means something; none when the terminal is gone.
    pub(crate) async fn key(&mut self) -> Option<Key> {
        self.keys.recv().await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Blocks on the terminal, so it has a thread; ends when nobody listens or the terminal closes.
fn read_keys(send: &mpsc::Sender<Key>) {
    while let Ok(event) = event::read() {
        let Some(key) = meaning(&event) else { continue };
        if let Err(mpsc::error::TrySendError::Closed(_)) = send.try_send(key) {
            return;
        }
    }
}

fn meaning(event: &Event) -> Option<Key> {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else { return None };
    match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Key::End), // raw mode: no signal
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::End),
        KeyCode::Up | KeyCode::Char('+') => Some(Key::Up),
        KeyCode::Down | KeyCode::Char('-') => Some(Key::Down),
        _ => None,
    }
}
