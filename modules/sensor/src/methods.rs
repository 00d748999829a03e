//! Direct methods: `ping`, `readNow`, `getStatus`.

use isotherm_client::Call;
use serde_json::{Value, json};

use crate::sensor::Sensor;

impl Sensor {
    /// Answers a call. Nobody waits for a reading longer than the chip itself may be pending.
    pub(crate) async fn answer(&mut self, call: Call) {
        let (status, payload) = self.call(&call.name).await;
        self.client.respond(call, status, payload);
    }

    /// Does what a method does: its status and payload.
    pub(crate) async fn call(&mut self, method: &str) -> (i32, Value) {
        match method {
            "ping" => (200, json!({"pong": true})),
            "readNow" => self.read_now().await,
            "getStatus" => (200, self.status_now().await),
            other => (404, json!({"error": format!("{other:?} is no method; ping, readNow, getStatus are")})),
        }
    }

    /// A reading out of turn. It is a reading like any other: numbered, and sent with its batch.
    async fn read_now(&mut self) -> (i32, Value) {
        if self.reader.is_full() {
            return (503, json!({"error": "the outbox takes nothing; no readings until it does"}));
        }
        match self.reader.read().await {
            Ok(Some(reading)) => (200, reading.to_json()),
            Ok(None) => (409, json!({"error": "the replay has come to its end"})),
            Err(silence) => (503, json!({"error": silence.to_string()})),
        }
    }

    async fn status_now(&mut self) -> Value {
        let alert = self.reader.socket.alert().await;
        self.reader.status.to_json(json!({
            "held": self.held(),
            "sequence": self.reader.readings.sequence(),
            "finished": self.reader.finished,
            "chip": self.reader.socket.chip().name(),
            "alert": alert,
            "batched": self.reader.readings.waiting(),
        }))
    }
}
