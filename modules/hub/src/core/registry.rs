//! Who exists: devices and modules with their keys, states and etags, as IoT Hub's registry keeps them.

use isotherm_iothub::{Identity, Key};
use serde_json::Value;

use super::people::Person;
use super::{ApiError, Core, ErrorCode, Now, documents};
use crate::store::Ticket;

/// Most modules of one device, the edge's own two not counted against anybody; one more is refused with 413003.
const MODULES_MAX: usize = 52;
/// What every edge device has.
pub(super) const SYSTEM_MODULES: [&str; 2] = ["$edgeAgent", "$edgeHub"];

/// How many there are (`/statistics/devices`, `/statistics/service`). Devices only, modules are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// All devices.
    pub total: usize,
    /// Those that may connect.
    pub enabled: usize,
    /// Those that may not.
    pub disabled: usize,
    /// Those that are connected.
    pub connected: usize,
}

impl Core {
    /// Creates a device (no `if_match`) or updates it (`*` or its etag). `document` is the REST body; absent, empty
    /// or null keys are drawn. With `capabilities.iotEdge` it gets its `$edgeAgent` and `$edgeHub`.
    /// Says the device's document. Answer once durable.
    ///
    /// # Errors
    /// 409001 it exists, 404001 it does not, 412001 the etag differs, 400004 the document, 413002 too many.
    pub fn put_device(
        &mut self,
        device_id: &str,
        document: &Value,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<(Value, Ticket), ApiError> {
        let who = Identity::device(device_id).map_err(|refused| ApiError::argument(&refused))?;
        self.put(&who, document, if_match, now)
    }

    /// A device's document.
    ///
    /// # Errors
    /// 404001.
    pub fn device(&self, device_id: &str) -> Result<Value, ApiError> {
        Ok(documents::identity(self.known_device(device_id)?))
    }

    /// The first `top` devices' documents, by id.
    pub fn devices(&self, top: usize) -> Vec<Value> {
        self.people.devices().take(top).map(documents::identity).collect()
    }

    /// Deletes a device with its modules, twins and queues; their sessions end.
    ///
    /// # Errors
    /// 404001, 412001.
    pub fn delete_device(
        &mut self,
        device_id: &str,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<Ticket, ApiError> {
        let who = self.known_device(device_id)?.who.clone();
        if device_id == self.options.device_id {
            let message = format!("{device_id} is the device that this hub runs on");
            return Err(ApiError::new(ErrorCode::InvalidOperation, message));
        }
        self.check_etag(&who, if_match)?;
        let modules: Vec<Identity> = self.people.modules_of(device_id).map(|it| it.who.clone()).collect();
        for module in &modules {
            self.remove(module, now);
        }
        Ok(self.remove(&who, now))
    }

    /// Creates a module (no `if_match`) or updates it. Says its document. Answer once durable.
    ///
    /// # Errors
    /// 404001 no such device, 409301, 404010, 412001, 400004, 413003 too many.
    pub fn put_module(
        &mut self,
        device_id: &str,
        module_id: &str,
        document: &Value,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<(Value, Ticket), ApiError> {
        self.known_device(device_id)?;
        let who = Identity::module(device_id, module_id).map_err(|refused| ApiError::argument(&refused))?;
        if self.people.find(&who).is_none() && self.people.modules_of(device_id).count() >= MODULES_MAX {
            let message = format!("{device_id} has {MODULES_MAX} modules, as many as there may be");
            return Err(ApiError::new(ErrorCode::TooManyModulesOnDevice, message));
        }
        self.put(&who, document, if_match, now)
    }

    /// A module's document.
    ///
    /// # Errors
    /// 404001, 404010.
    pub fn module(&self, device_id: &str, module_id: &str) -> Result<Value, ApiError> {
        Ok(documents::identity(self.known_module(device_id, module_id)?))
    }

    /// The documents of a device's modules, by id.
    ///
    /// # Errors
    /// 404001.
    pub fn modules(&self, device_id: &str) -> Result<Vec<Value>, ApiError> {
        self.known_device(device_id)?;
        Ok(self.people.modules_of(device_id).map(documents::identity).collect())
    }

    /// Deletes a module with its twin and queues; its session ends.
    ///
    /// # Errors
    /// 404001, 404010, 412001.
    pub fn delete_module(
        &mut self,
        device_id: &str,
        module_id: &str,
        if_match: Option<&str>,
        now: Now,
    ) -> Result<Ticket, ApiError> {
        let who = self.known_module(device_id, module_id)?.who.clone();
        if SYSTEM_MODULES.contains(&module_id) {
            let message = format!("{module_id} belongs to every edge device and goes with it");
            return Err(ApiError::new(ErrorCode::InvalidOperation, message));
        }
        self.check_etag(&who, if_match)?;
        Ok(self.remove(&who, now))
    }

    /// Whether there is somebody of that name.
    pub fn exists(&self, who: &Identity) -> bool {
        self.people.find(who).is_some()
    }

    /// All identities, in order.
    pub fn identities(&self) -> Vec<Identity> {
        self.people.iter().map(|person| person.who.clone()).collect()
    }

    /// Somebody's primary key, for connection strings and the workload API's `sign`.
    pub fn key_of(&self, who: &Identity) -> Option<Key> {
        let (primary, _) = self.people.get(who)?.record.auth.keys.as_ref()?;
        Key::from_base64(primary).ok()
    }

    /// Somebody's generation id: another one if they were deleted and made again.
    pub fn generation_of(&self, who: &Identity) -> Option<String> {
        self.people.get(who).map(|person| person.record.generation.to_string())
    }

    /// Whether somebody is connected.
    pub fn connected(&self, who: &Identity) -> bool {
        self.people.get(who).is_some_and(|person| person.session.is_some())
    }

    /// The shared access policies and their keys, in IoT Hub's order.
    pub fn policies(&self) -> Vec<(String, Key)> {
        self.policies.clone()
    }

    /// How many there are.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = Statistics::default();
        for device in self.people.devices() {
            statistics.total += 1;
            statistics.enabled += usize::from(device.record.enabled);
            statistics.disabled += usize::from(!device.record.enabled);
            statistics.connected += usize::from(device.session.is_some());
        }
        statistics
    }
}

impl Core {
    pub(super) fn known_device(&self, device_id: &str) -> Result<&Person, ApiError> {
        let not_found =
            || ApiError::new(ErrorCode::DeviceNotFound, format!("device {device_id} is not registered"));
        let who = Identity::device(device_id).map_err(|_| not_found())?;
        self.people.get(&who).ok_or_else(not_found)
    }

    fn known_module(&self, device_id: &str, module_id: &str) -> Result<&Person, ApiError> {
        self.known_device(device_id)?;
        let message = || format!("module {device_id}/{module_id} is not registered");
        let not_found = || ApiError::new(ErrorCode::ModuleNotFound, message());
        let who = Identity::module(device_id, module_id).map_err(|_| not_found())?;
        self.people.get(&who).ok_or_else(not_found)
    }
}

/// Compares etags, quotes aside. `*` fits all, and nothing at all too.
pub(super) fn match_etag(etag: &str, if_match: Option<&str>) -> Result<(), ApiError> {
    match if_match.map(|text| text.trim_start_matches("W/").trim_matches('"')) {
        None | Some("*" | "") => Ok(()),
        Some(wanted) if wanted == etag => Ok(()),
        Some(_) => {
            let message = "it has been changed in the meantime: its etag is another now";
            Err(ApiError::new(ErrorCode::PreconditionFailed, message))
        }
    }
}
