//! Where sessions sit: each under a number that is never used twice.

use std::collections::VecDeque;
use std::sync::Arc;

use isotherm_iothub::{Feed, Identity};
use jiff::Timestamp;

use super::{Outgoing, SessionId, Wake};
use crate::store::Ticket;

/// Which feeds are on, and at which QoS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Feeds([Option<u8>; 5]);

impl Feeds {
    pub(super) fn place(feed: Feed) -> usize {
        match feed {
            Feed::Methods => 0,
            Feed::Desired => 1,
            Feed::CloudToDevice => 2,
            Feed::TwinResults => 3,
            Feed::Inputs => 4,
        }
    }

    pub(super) fn of(&self, feed: Feed) -> Option<u8> {
        self.0[Self::place(feed)]
    }

    pub(super) fn set(&mut self, feed: Feed, qos: Option<u8>) {
        self.0[Self::place(feed)] = qos;
    }

    /// As it is kept: a byte a feed, 255 for none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 5] = bytes.try_into().ok()?;
        Some(Self(bytes.map(|qos| Some(qos).filter(|qos| *qos <= 1))))
    }

    pub(super) fn written(&self) -> Vec<u8> {
        self.0.map(|qos| qos.unwrap_or(u8::MAX)).to_vec()
    }
}

/// A session, from `attach` to `detach`.
pub(super) struct Session {
    pub(super) place: usize,
    pub(super) who: Identity,
    pub(super) clean: bool,
    pub(super) feeds: Feeds,
    pub(super) until: Option<Timestamp>,
    pub(super) wake: Wake,
    /// Whether it was woken and has not yet polled to the end.
    pub(super) woken: bool,
    /// False once it was taken over, expired or removed.
    pub(super) alive: bool,
    /// What its client is still to be told about that.
    pub(super) end: Option<Outgoing>,
    /// Calls and twin changes, each from when it is durable on.
    pub(super) mailbox: VecDeque<(Ticket, Outgoing)>,
}

impl Session {
    pub(super) fn new(
        place: usize,
        who: Identity,
        clean: bool,
        _protocol: &'static str,
        feeds: Feeds,
        until: Option<Timestamp>,
        wake: Wake,
    ) -> Self {
        let mailbox = VecDeque::new();
        Self { place, who, clean, feeds, until, wake, woken: false, alive: true, end: None, mailbox }
    }

    pub(super) fn wake(&mut self, held: &mut Option<Vec<Wake>>) {
        if std::mem::replace(&mut self.woken, true) {
            return;
        }
        match held {
            Some(held) => held.push(Arc::clone(&self.wake)),
            None => (self.wake)(),
        }
    }
}

/// All sessions; a number is never used twice.
#[derive(Default)]
pub(super) struct Sessions {
    places: Vec<(u32, Option<Session>)>,
    free: Vec<usize>,
    pub(super) living: usize,
}

impl Sessions {
    pub(super) fn add(&mut self, session: Session) -> SessionId {
        self.living += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            self.places.len() - 1
        });
        let (turn, slot) = &mut self.places[place];
        *turn += 1;
        *slot = Some(session);
        SessionId(u64::from(*turn) << 32 | place as u64)
    }

    pub(super) fn place(id: SessionId) -> (u32, usize) {
        ((id.0 >> 32) as u32, (id.0 & u64::from(u32::MAX)) as usize)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let (turn, place) = Self::place(id);
        self.places.get_mut(place).filter(|(now, _)| *now == turn)?.1.as_mut()
    }

    pub(super) fn live(&self, id: SessionId) -> Option<&Session> {
        let (turn, place) = Self::place(id);
        let session = self.places.get(place).filter(|(now, _)| *now == turn)?.1.as_ref()?;
        session.alive.then_some(session)
    }

    pub(super) fn live_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.get_mut(id).filter(|session| session.alive)
    }

    pub(super) fn remove(&mut self, id: SessionId) -> Option<Session> {
        let (turn, place) = Self::place(id);
        let session = self.places.get_mut(place).filter(|(now, _)| *now == turn)?.1.take()?;
        self.free.push(place);
        Some(session)
    }

    /// Those whose token's time is over.
    pub(super) fn expired(&self, wall: Timestamp) -> Vec<SessionId> {
        let places = self.places.iter().enumerate();
        let over = places.filter(|(_, (_, session))| {
            session.as_ref().is_some_and(|it| it.alive && it.until.is_some_and(|until| until <= wall))
        });
        over.map(|(place, (turn, _))| SessionId(u64::from(*turn) << 32 | place as u64)).collect()
    }
}
