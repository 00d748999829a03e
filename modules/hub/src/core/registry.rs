//! Who exists: devices and modules with their keys, states and etags, as IoT Hub's registry keeps them.

use isotherm_iothub::{Identity, Key};
use serde_json::Value;

use super::{ApiError, Core, Now};
use crate::store::Ticket;

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
        let _ = (device_id, document, if_match, now);
        unimplemented!()
    }

    /// A device's document.
    ///
    /// # Errors
    /// 404001.
    pub fn device(&self, device_id: &str) -> Result<Value, ApiError> {
        let _ = device_id;
        unimplemented!()
    }

    /// The first `top` devices' documents, by id.
    pub fn devices(&self, top: usize) -> Vec<Value> {
        let _ = top;
        unimplemented!()
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
        let _ = (device_id, if_match, now);
        unimplemented!()
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
        let _ = (device_id, module_id, document, if_match, now);
        unimplemented!()
    }

    /// A module's document.
    ///
    /// # Errors
    /// 404001, 404010.
    pub fn module(&self, device_id: &str, module_id: &str) -> Result<Value, ApiError> {
        let _ = (device_id, module_id);
        unimplemented!()
    }

    /// The documents of a device's modules, by id.
    ///
    /// # Errors
    /// 404001.
    pub fn modules(&self, device_id: &str) -> Result<Vec<Value>, ApiError> {
        let _ = device_id;
        unimplemented!()
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
        let _ = (device_id, module_id, if_match, now);
        unimplemented!()
    }

    /// Whether there is somebody of that name.
    pub fn exists(&self, who: &Identity) -> bool {
        let _ = who;
        unimplemented!()
    }

    /// All identities, in order.
    pub fn identities(&self) -> Vec<Identity> {
        unimplemented!()
    }

    /// Somebody's primary key, for connection strings and the workload API's `sign`.
    pub fn key_of(&self, who: &Identity) -> Option<Key> {
        let _ = who;
        unimplemented!()
    }

    /// Somebody's generation id: another one if they were deleted and made again.
    pub fn generation_of(&self, who: &Identity) -> Option<String> {
        let _ = who;
        unimplemented!()
    }

    /// Whether somebody is connected.
    pub fn connected(&self, who: &Identity) -> bool {
        let _ = who;
        unimplemented!()
    }

    /// The shared access policies and their keys, in IoT Hub's order.
    pub fn policies(&self) -> Vec<(String, Key)> {
        unimplemented!()
    }

    /// How many there are.
    pub fn statistics(&self) -> Statistics {
        unimplemented!()
    }

    /// Answers `SELECT * FROM devices` and `SELECT * FROM devices.modules` with the twins' documents.
    ///
    /// # Errors
    /// 400004: what of the language is understood so far.
    pub fn query(&self, sql: &str) -> Result<Vec<Value>, ApiError> {
        let _ = sql;
        unimplemented!()
    }
}
