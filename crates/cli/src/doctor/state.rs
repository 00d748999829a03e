//! The state folder, the disk it is on, and the certificates in it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use isotherm_host::Host;
use jiff::{SignedDuration, Timestamp};

use super::Finding;

/// Below this an outage of the hub for a day may fill the disk.
const FREE_BYTES_MIN: u64 = 128 << 20;
/// Below this nothing can be promised.
const FREE_BYTES_LEAST: u64 = 8 << 20;
/// A certificate that ends within this is told of; the hub makes its own anew long before.
const CERTIFICATE_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Looks at all of it.
pub(super) fn look(host: &Host, state: &Path) -> Vec<Finding> {
    let mut findings = vec![folder(state), disk(host, state)];
    let own = [state.join("hub/pki/ca.pem"), state.join("hub/pki/server.pem")];
    let named = ["EdgeModuleCACertificateFile", "X509_CERTIFICATE_FILE"].map(|name| host.env.get(name));
    let own = own.iter().filter(|path| path.exists()).map(|path| path.as_path());
    let named = named.into_iter().flatten().map(Path::new);
    findings.extend(own.chain(named).map(|path| certificate(host, path, host.wall())));
    findings
}

/// Whether it can be written to, and read by nobody else.
fn folder(state: &Path) -> Finding {
    let shown = state.display();
    let Ok(met) = std::fs::metadata(state) else {
        return match writable(nearest(state)) {
            Ok(()) => Finding::ok("state", format!("{shown} will be made at the first start")),
            Err(why) => Finding::problem("state", format!("{shown} cannot be made: {why}")),
        };
    };
    if !met.is_dir() {
        return Finding::problem("state", format!("{shown} is no folder; ISOTHERM_STATE names another"));
    }
    match writable(state) {
        Err(why) => Finding::problem(
            "state",
            format!(
                "{shown} cannot be written to: {why}; it must belong to the user that the modules run as"
            ),
        ),
        Ok(()) if met.permissions().mode() & 0o077 != 0 => {
            Finding::warning("state", format!("{shown} is open to others; it holds keys: chmod 0700 {shown}"))
        }
        Ok(()) => Finding::ok("state", format!("{shown} can be written to, by its owner alone")),
    }
}

/// The folder itself, or the first one above it that is there.
fn nearest(folder: &Path) -> &Path {
    let there = folder.ancestors().find(|folder| folder.as_os_str().is_empty() || folder.exists());
    there.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Tries it; nothing else tells of a read-only disk, a full one, and rights all alike.
fn writable(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".doctor.{}", std::process::id()));
    std::fs::write(&probe, b"?")?;
    std::fs::remove_file(&probe)
}

/// Whether there is room for an outage.
fn disk(host: &Host, state: &Path) -> Finding {
    match host.disk.free_bytes(nearest(state)) {
        Err(error) => Finding::problem("disk", format!("its free space cannot be read: {error}")),
        Ok(free) if free < FREE_BYTES_LEAST => {
            Finding::problem("disk", format!("{free} bytes are free; {FREE_BYTES_MIN} should be"))
        }
        Ok(free) if free < FREE_BYTES_MIN => Finding::warning(
            "disk",
            format!("{free} bytes are free; an outbox alone may take OUTBOX_BYTES_MAX, 67108864 by default"),
        ),
        Ok(free) => Finding::ok("disk", format!("{free} bytes are free")),
    }
}

/// Whether a certificate can be read and still counts.
fn certificate(host: &Host, path: &Path, now: Timestamp) -> Finding {
    let shown = path.display();
    let ends = match host.disk.read(path) {
        Err(error) => return Finding::problem("certificates", format!("{shown}: {error}")),
        Ok(bytes) => isotherm_pki::not_after(&String::from_utf8_lossy(&bytes)),
    };
    match ends {
        Err(why) => Finding::problem("certificates", format!("{shown}: {why}")),
        Ok(end) if end <= now => Finding::problem("certificates", format!("{shown} ended on {end}")),
        Ok(end) if end.duration_since(now) < CERTIFICATE_SOON => {
            Finding::warning("certificates", format!("{shown} ends soon, on {end}"))
        }
        Ok(end) => Finding::ok("certificates", format!("{shown} is good until {end}")),
    }
}
