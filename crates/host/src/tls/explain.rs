//! Says in words what went wrong in a handshake.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use std::io;

/// Of a handshake with a server.
pub(super) fn of_server(error: io::Error, name: &str) -> io::Error {
    let Some(tls) = rustls_error(&error) else { return broken_off(error, "the server") };
    let words = match tls {
        Error::InvalidCertificate(why) => {
            format!("the server's certificate {}", of_certificate(why, name))
        }
        Error::AlertReceived(alert) => of_alert(*alert, "the server", "this client's"),
        Error::InvalidMessage(_) => not_tls("the server", tls),
        other => other.to_string(),
    };
    io::Error::new(io::ErrorKind::InvalidData, words)
}

/// Of a handshake with a client.
pub(super) fn of_client(error: io::Error) -> io::Error {
    let Some(tls) = rustls_error(&error) else { return broken_off(error, "the client") };
    let words = match tls {
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            "the client does not hold the key of the certificate it showed".to_owned()
        }
        Error::AlertReceived(alert) => of_alert(*alert, "the client", "this server's"),
        Error::InvalidMessage(_) => not_tls("the client", tls),
        other => other.to_string(),
    };
    io::Error::new(io::ErrorKind::InvalidData, words)
}

/// Of one that was not finished in time.
pub(super) fn too_late(peer: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{peer} did not finish the TLS handshake in 10 s"))
}

fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn broken_off(error: io::Error, peer: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{peer} broke off the TLS handshake: {error}"))
}

fn of_certificate(why: &CertificateError, name: &str) -> String {
    use CertificateError as Wrong;
    match why {
        Wrong::UnknownIssuer => {
            "is signed by an authority that is not trusted here; trust the authority that made it".to_owned()
        }
        Wrong::Expired | Wrong::ExpiredContext { .. } => "has expired, or the clock here is ahead".to_owned(),
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            "is not valid yet, or the clock here is behind".to_owned()
        }
        Wrong::NotValidForName => format!("is not for the name {name}"),
        Wrong::NotValidForNameContext { presented, .. } => {
            format!("is not for the name {name}; it is for {}", presented.join(", "))
        }
        other => format!("is not good: {other}"),
    }
}

fn of_alert(alert: AlertDescription, peer: &str, whose: &str) -> String {
    use AlertDescription as Alert;
    let what = match alert {
        Alert::UnknownCA => format!("does not trust the authority of {whose} certificate"),
        Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown => {
            format!("does not accept {whose} certificate")
        }
        Alert::CertificateExpired => format!("says that {whose} certificate has expired"),
        Alert::CertificateRequired => format!("wants {whose} certificate, and there is none"),
        Alert::ProtocolVersion => "speaks neither TLS 1.2 nor 1.3".to_owned(),
        other => return format!("{peer} ended the TLS handshake: {other:?}"),
    };
    format!("{peer} {what}")
}

fn not_tls(peer: &str, error: &Error) -> String {
    match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!("{peer} does not speak TLS on this port")
        }
        other => format!("{peer} does not speak TLS properly: {other}"),
    }
}
