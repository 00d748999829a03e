//! Twins: what is desired, what is reported, and who hears of a change. On disk before anyone does.

use isotherm_iothub::{Identity, Refused};
use serde_json::Value;

use super::{ApiError, Core, Now};
use crate::store::Ticket;

/// A change of a twin by the service side.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Merge: `null` deletes, arrays replace. `None` leaves a section as it is.
    Patch {
        /// Into the tags.
        tags: Option<Value>,
        /// Into the desired properties.
        desired: Option<Value>,
    },
    /// Replace whole sections. `None` leaves a section as it is.
    Replace {
        /// The tags.
        tags: Option<Value>,
        /// The desired properties.
        desired: Option<Value>,
    },
}

impl Core {
    /// The twin as its own client sees it: `{"desired":{…},"reported":{…}}`, each with `$version`.
    /// `None` if there is nobody of that name.
    pub fn twin_get(&self, who: &Identity) -> Option<Value> {
        let _ = who;
        unimplemented!()
    }

    /// The twin as the service side sees it, `$metadata` and all.
    ///
    /// # Errors
    /// 404001 or 404010.
    pub fn twin_document(&self, who: &Identity) -> Result<Value, ApiError> {
        let _ = who;
        unimplemented!()
    }

    /// Merges a patch of the client into its reported properties and says the new version. Answer 204 once durable.
    ///
    /// # Errors
    /// What is wrong with the patch; nothing has changed then.
    pub fn reported(&mut self, who: &Identity, patch: &Value, now: Now) -> Result<(u64, Ticket), Refused> {
        let _ = (who, patch, now);
        unimplemented!()
    }

    /// Changes desired properties or tags; says the whole twin as the service side sees it. Answer once durable.
    /// The client hears of it when it is on disk. `if_match` is an etag, quoted or not, or `*`.
    ///
    /// # Errors
    /// 404001, 404010, 412001, 400004 with the place in the document.
    pub fn desired(
        &mut self,
        who: &Identity,
        change: Change,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<(Value, Ticket), ApiError> {
        let _ = (who, change, if_match, now);
        unimplemented!()
    }
}
