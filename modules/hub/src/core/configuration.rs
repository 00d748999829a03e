//! Deployments: modules, their first desired properties, and the routes of `$edgeHub`.

use serde_json::Value;

use super::{ApiError, Core, Now};
use crate::store::Ticket;

impl Core {
    /// Applies a deployment's content (`{"modulesContent":{…}}`): modules it names and that are missing are created
    /// (`managedBy` `IotEdge`), the desired properties it carries replace the old, modules managed by `IotEdge` that
    /// it does not name are removed. All or nothing. Routes that do not parse leave the old ones in force and are told
    /// in `$edgeHub`'s reported `lastDesiredStatus` (400), as edgeHub does.
    ///
    /// # Errors
    /// 404001, 400401 with the JSON path.
    pub fn apply_configuration(
        &mut self,
        device_id: &str,
        content: &Value,
        now: Now,
    ) -> Result<Ticket, ApiError> {
        let _ = (device_id, content, now);
        unimplemented!()
    }

    /// Whether the routes in force are those last desired; else what is wrong with them.
    ///
    /// # Errors
    /// The text of `lastDesiredStatus`.
    pub fn configuration_status(&self) -> Result<(), String> {
        unimplemented!()
    }
}
