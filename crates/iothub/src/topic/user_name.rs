//! The user name of a CONNECT: which hub, who, and with which version of the API.

use std::fmt;
use std::str::FromStr;

use crate::error::excerpt;
use crate::{Identity, Refused, percent};

/// `{hub}/{device}[/{module}]/?api-version=…&DeviceClientType=…`, read and written. Ids are not encoded in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName {
    /// The hub's host name, also when a gateway is the peer.
    pub hub: String,
    /// Who connects. The client id must say the same.
    pub identity: Identity,
    /// `api-version`: never empty, otherwise not looked at.
    pub api_version: String,
    /// `DeviceClientType`: what the client is, in its own words.
    pub client_type: Option<String>,
    /// `model-id`: the digital twin's model.
    pub model_id: Option<String>,
    /// `auth-chain`: the gateways in between.
    pub auth_chain: Option<String>,
}

impl UserName {
    /// The same as `text.parse()`.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        text.parse()
    }

    /// With nothing said but who and the version.
    pub fn new(hub: &str, identity: Identity, api_version: &str) -> Self {
        Self {
            hub: hub.to_owned(),
            identity,
            api_version: api_version.to_owned(),
            client_type: None,
            model_id: None,
            auth_chain: None,
        }
    }
}

impl FromStr for UserName {
    type Err = Refused;

    /// Reads the form with `?` and the older one without, `{hub}/{device}/api-version=…/DeviceClientType=…`.
    fn from_str(text: &str) -> Result<Self, Refused> {
        let wrong = |why| Refused::new(format!("user name \"{}\"", excerpt(text)), why);
        let shape = "is not {hub}/{device}/?api-version=… or {hub}/{device}/{module}/?api-version=…";
        let (hub, rest) = text.split_once('/').ok_or_else(|| wrong(shape))?;
        let (ids, query, separators) = match rest.split_once("/?") {
            Some((ids, query)) => (ids, query, &['&'][..]),
            None => {
                let at = rest.find("/api-version=").ok_or_else(|| wrong(shape))?;
                (&rest[..at], &rest[at + 1..], &['&', '/'][..])
            }
        };
        if hub.is_empty() {
            return Err(wrong(shape));
        }
        let mut name = Self::new(hub, ids.parse()?, "");
        for pair in query.split(separators) {
            name.take(pair)?;
        }
        if name.api_version.is_empty() {
            return Err(wrong("has no api-version; add ?api-version=2021-04-12"));
        }
        Ok(name)
    }
}

impl UserName {
    /// Takes one `key=value`; of two equal keys the first counts, unknown ones are passed over.
    fn take(&mut self, pair: &str) -> Result<(), Refused> {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match key {
            "api-version" if self.api_version.is_empty() => &mut self.api_version,
            "DeviceClientType" => self.client_type.get_or_insert_default(),
            "model-id" => self.model_id.get_or_insert_default(),
            "auth-chain" => self.auth_chain.get_or_insert_default(),
            _ => return Ok(()),
        };
        if slot.is_empty() {
            *slot = percent::decode_owned(value)?;
        }
        Ok(())
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/?api-version={}", self.hub, self.identity, percent::encode(&self.api_version))?;
        for (key, value) in [
            ("DeviceClientType", &self.client_type),
            ("model-id", &self.model_id),
            ("auth-chain", &self.auth_chain),
        ] {
            if let Some(value) = value {
                write!(f, "&{key}={}", percent::encode(value))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_as_python_writes_it_is_read() {
        let name = UserName::parse(
            "localhost/dev1/?api-version=2019-10-01&DeviceClientType=azure-iot-device-iothub-py%2F2.14.0%283.11.7%3BLinux%29",
        )
        .unwrap();
        assert_eq!((name.hub.as_str(), name.identity.as_str()), ("localhost", "dev1"));
        assert_eq!(name.api_version, "2019-10-01");
        assert_eq!(name.client_type.as_deref(), Some("azure-iot-device-iothub-py/2.14.0(3.11.7;Linux)"));
    }

    #[test]
    fn a_module_and_a_client_without_a_type_are_read() {
        let name =
            UserName::parse("h.example/edge1/$edgeAgent/?api-version=2021-04-12&DeviceClientType=x").unwrap();
        assert_eq!(name.identity.as_str(), "edge1/$edgeAgent");
        let name = UserName::parse("localhost/dev1/?api-version=2018-06-30").unwrap();
        assert_eq!(name.client_type, None);
    }

    #[test]
    fn the_old_form_without_a_question_mark_is_read() {
        let name = UserName::parse("h/dev1/api-version=2017-06-30/DeviceClientType=C%2F1").unwrap();
        assert_eq!(name.identity.as_str(), "dev1");
        assert_eq!((name.api_version.as_str(), name.client_type.as_deref()), ("2017-06-30", Some("C/1")));
        let name = UserName::parse("h/dev1/api-version=2016-11-14&x=y").unwrap();
        assert_eq!(name.api_version, "2016-11-14");
    }

    #[test]
    fn of_two_equal_keys_the_first_counts() {
        let name = UserName::parse("h/d/?api-version=1&api-version=2&model-id=a&model-id=b").unwrap();
        assert_eq!((name.api_version.as_str(), name.model_id.as_deref()), ("1", Some("a")));
    }

    #[test]
    fn a_user_name_without_a_version_or_of_another_shape_is_refused() {
        for text in [
            "",
            "h",
            "h/d",
            "h/d/",
            "h/d/?",
            "h/d/?api-version=",
            "h/d/?DeviceClientType=x",
            "/d/?api-version=1",
            "h//?api-version=1",
            "h/d/m/x/?api-version=1",
            "h/?api-version=1",
            "h/d/?api-version=%zz",
        ] {
            assert!(UserName::parse(text).is_err(), "{text} got through");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut name = UserName::new("hub.example", "edge/filter".parse().unwrap(), "2021-04-12");
        name.client_type = Some("isotherm/0.1 (linux; x)".into());
        name.model_id = Some("dtmi:com:x;1".into());
        let text = name.to_string();
        assert!(
            text.starts_with("hub.example/edge/filter/?api-version=2021-04-12&DeviceClientType=isotherm%2F")
        );
        assert_eq!(UserName::parse(&text), Ok(name));
    }
}
