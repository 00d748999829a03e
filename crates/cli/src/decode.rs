//! What the hub tells a watcher, as people and scripts read it: bodies that are readings are decoded,
//! other text stays text, and the rest is base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isotherm_proto::{Body, Reading};
use serde_json::{Map, Value};

/// Replaces the body of one line of the hub's by `reading`, `readings`, `body` or `bodyBase64`.
pub(crate) fn decode(mut line: Map<String, Value>) -> Map<String, Value> {
    let Some(body) = line.remove("bodyBase64") else { return line };
    let bytes = body.as_str().and_then(|text| STANDARD.decode(text).ok());
    let (name, value) = match bytes {
        Some(bytes) => body_of(&bytes, body),
        None => ("bodyBase64", body),
    };
    line.insert(name.to_owned(), value);
    line
}

fn body_of(bytes: &[u8], undecoded: Value) -> (&'static str, Value) {
    match Body::decode(bytes) {
        Ok(Body::Reading(reading)) => ("reading", reading.to_json()),
        Ok(Body::Upload(upload)) => ("readings", upload.readings.iter().map(Reading::to_json).collect()),
        Err(_) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(|c| c.is_control() && !c.is_whitespace()) => ("body", text.into()),
            _ => ("bodyBase64", undecoded),
        },
    }
}

/// The readings in a decoded line, one or many.
pub(crate) fn readings(line: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let many = line.get("readings").and_then(Value::as_array);
    line.get("reading").into_iter().chain(many.into_iter().flatten())
}

/// One decoded line for a person: time, from, to whom, and what.
pub(crate) fn plain(line: &Map<String, Value>) -> String {
    let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
    let at = ["enqueued", "at"].map(text).into_iter().find(|at| !at.is_empty()).unwrap_or_default();
    let clock = at.get(11..23).unwrap_or(at);
    let mut said = format!("{clock:12}  {:10} {}", text("event"), text("from"));
    for (name, arrow) in [("output", "."), ("to", " → ")] {
        if !text(name).is_empty() {
            said.push_str(arrow);
            said.push_str(text(name));
        }
    }
    for reading in readings(line) {
        said.push_str(&reading_line(reading));
    }
    for name in [
        "body",
        "bodyBase64",
        "properties",
        "desired",
        "reported",
        "name",
        "status",
        "payload",
        "reason",
        "lost",
    ] {
        match line.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) if map.is_empty() => {}
            Some(Value::String(value)) => said.push_str(&format!("  {value}")),
            Some(value) => said.push_str(&format!("  {name}={value}")),
        }
    }
    said
}

fn reading_line(reading: &Value) -> String {
    let celsius = reading.get("reading").and_then(Value::as_f64).unwrap_or(f64::NAN);
    let sensor = reading.get("sensorId").and_then(Value::as_str).unwrap_or_default();
    let sequence = reading.get("sequence").and_then(Value::as_u64).unwrap_or_default();
    format!("  {celsius:.2} °C  {sensor} #{sequence}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotherm_proto::Celsius;
    use serde_json::json;

    fn line(body: &[u8]) -> Map<String, Value> {
        let line = json!({"event": "upstream", "from": "edge/filter", "bodyBase64": STANDARD.encode(body)});
        let Value::Object(line) = line else { unreachable!("an object was written") };
        decode(line)
    }

    #[test]
    fn a_reading_is_shown_as_one() {
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        let reading =
            Reading { sensor_id: "s".into(), sequence: 17, celsius: Celsius::new(21.5).unwrap(), at };
        let line = line(&reading.encode());
        assert_eq!(line["reading"]["reading"], json!(21.5));
        assert_eq!(line["reading"]["sequence"], json!(17));
        assert!(!line.contains_key("bodyBase64"));
        assert!(plain(&line).contains("21.50 °C  s #17"), "{}", plain(&line));
    }

    #[test]
    fn text_stays_text_and_the_rest_stays_base64() {
        assert_eq!(line(b"{\"temp\": 21.5}")["body"], json!("{\"temp\": 21.5}"));
        assert_eq!(line(&[0xff, 0x00])["bodyBase64"], json!("/wA="));
    }
}
