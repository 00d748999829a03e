//! A twin in two places: what is desired comes from upstream and is merged into the twin here; what is reported here
//! is told there. Each side keeps what the other knows nothing of.

use std::sync::Arc;

use isotherm_client::Client;
use isotherm_iothub::Identity;
use serde_json::Value;

use super::patch;
use crate::core::Change;
use crate::shared::Shared;
use crate::store::Table;

/// One identity's twin between the two hubs.
pub(super) struct Twin {
    /// Whose it is here.
    who: Identity,
    /// What upstream last desired, as far as it was merged here.
    desired: Option<Value>,
    /// What upstream was last told; nothing yet on this connection.
    told: Option<Value>,
}

impl Twin {
    pub(super) fn recall(shared: &Shared, who: Identity) -> Self {
        let kept = shared.store.load(Table::Upstream).unwrap_or_default();
        let name = key(&who);
        let desired = kept.into_iter().find(|(key, _)| *key == name);
        let desired = desired.and_then(|(_, bytes)| serde_json::from_slice(&bytes).ok());
        Self { who, desired, told: None }
    }

    /// Upstream desires this, the whole of it. Only what changed there since it was last heard of is merged here.
    pub(super) fn desire(&mut self, shared: &Arc<Shared>, whole: Value) {
        let patch = patch::between(self.desired.as_ref().unwrap_or(&Value::Null), &whole);
        if !patch.is_empty() {
            let change = Change::Patch { tags: None, desired: Some(patch.into()) };
            let changed = shared.core().desired(&self.who, change, None, shared.now());
            if let Err(error) = changed {
                tracing::warn!(who = %self.who, %error, "what upstream desires cannot be merged here");
                return;
            }
        }
        shared.store.put(Table::Upstream, &key(&self.who), whole.to_string().into_bytes());
        self.desired = Some(whole);
    }

    /// A new connection: what upstream knows is what its twin says.
    pub(super) fn begin(&mut self) {
        self.told = None;
    }

    /// Tells upstream what is reported here and not known there.
    pub(super) fn report(&mut self, shared: &Shared, client: &mut Client) {
        let Some(here) = shared.core().twin_get(&self.who).map(|twin| twin["reported"].clone()) else {
            return;
        };
        let known = match (&self.told, client.twin()) {
            (Some(told), _) => told.clone(),
            (None, Some(twin)) => twin["reported"].clone(),
            (None, None) => return, // it is heard first
        };
        let patch = patch::between(&known, &here);
        if !patch.is_empty() {
            client.report(patch.into());
        }
        self.told = Some(here);
    }
}

fn key(who: &Identity) -> String {
    format!("desired/{who}")
}
