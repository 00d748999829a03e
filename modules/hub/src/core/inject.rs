//! Messages put straight into a module's input, past every route: how a test speaks to one module alone.

use std::sync::Arc;

use isotherm_iothub::{Identity, MESSAGE_BYTES_MAX, Message, PRIORITY_DEFAULT};

use super::{ApiError, Core, Counter, ErrorCode};
use crate::store::{Full, Receipt};

/// Longest name of an input, in characters.
const INPUT_CHARS_MAX: usize = 128;

impl Core {
    /// Puts a message into an input of a module of this edge device. Answer once it is in safe hands.
    ///
    /// # Errors
    /// 404001 or 404010 nobody of that name, 400004 no module of this edge or no name for an input, 413001, 503001 the
    /// store is full.
    pub fn put_into_input(
        &mut self,
        who: &Identity,
        input: &str,
        mut message: Message,
    ) -> Result<Receipt, ApiError> {
        let place = self.people.find(who).ok_or_else(|| ApiError::not_found(who))?;
        if !self.people[place].ours {
            let why = format!("{who} is no module of {}: only those have inputs", self.options.device_id);
            return Err(ApiError::new(ErrorCode::ArgumentInvalid, why));
        }
        let named = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if input.is_empty() || input.chars().count() > INPUT_CHARS_MAX || !input.chars().all(named) {
            let why = "an input's name has letters, digits, `-`, `_` and `.`, at most 128";
            return Err(ApiError::new(ErrorCode::ArgumentInvalid, why));
        }
        let bytes = message.size();
        if bytes > MESSAGE_BYTES_MAX {
            let why = format!("{bytes} bytes are more than the {MESSAGE_BYTES_MAX} that a message may have");
            return Err(ApiError::new(ErrorCode::MessageTooLarge, why));
        }
        let full = |_: Full| ApiError::new(ErrorCode::ServiceUnavailable, "the store is full");
        self.store.has_room(bytes).map_err(full)?;
        message.stamp(&who.owner());
        let queue = self.queues.find_or_make(&self.store, who, input, PRIORITY_DEFAULT);
        let queue = queue.map_err(|error| ApiError::new(ErrorCode::ServerError, error.to_string()))?;
        self.link_endpoints(who);
        self.counters.count(Counter::MessagesReceived);
        self.scratch.encode(&message);
        self.put_into_queue(queue, &Arc::new(message), None, None).map_err(full)?;
        let handle = self.queues.queues[queue].as_ref().map(|it| &it.handle);
        Ok(self.store.appended(handle))
    }
}
