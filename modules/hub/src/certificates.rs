//! The hub's own certificates: an authority made at first start and kept, and a server certificate under it that is
//! made anew when most of its life has passed or the names it must carry have changed.

use std::path::Path;

use anyhow::Context as _;
use isotherm_host::Disk;
use isotherm_pki::{Authority, Issued, Renewal, Validity};
use jiff::{SignedDuration, Timestamp};

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How long the authority lives. Whoever trusts it has copied it, so it is not changed lightly.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(20 * 365 * 24);
/// How long a server certificate lives.
const SERVER_LIFE: SignedDuration = SignedDuration::from_hours(2 * 365 * 24);
/// The hub is not older than this, whatever a clock without a battery says at boot: 2026-01-01.
const BUILT_AFTER: Timestamp = Timestamp::constant(1_767_225_600, 0);
/// By how much a client's clock may be behind ours.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How often a running hub looks whether its certificate should be made anew.
pub(crate) const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(3600);

/// The hub's authority and what its TLS server presents.
pub(crate) struct Certificates {
    /// The authority, which clients trust.
    pub(crate) authority: Authority,
    /// The server's certificate, then those above it, PEM.
    pub(crate) chain_pem: String,
    /// The server's private key, PEM.
    pub(crate) key_pem: String,
}

impl Certificates {
    /// Opens the certificates in `folder`, making what is missing or no longer serves.
    pub(crate) fn open(
        disk: &dyn Disk,
        folder: &Path,
        names: &[String],
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        disk.create_dir(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let authority = open_authority(disk, folder, now)?;
        let (chain, key) = (folder.join("server.pem"), folder.join("server.key"));
        if let (Some(chain_pem), Some(key_pem)) = (text(disk, &chain), text(disk, &key)) {
            match isotherm_pki::renewal(&chain_pem, names, authority.certificate_pem(), now) {
                Renewal::Keep => return Ok(Self { authority, chain_pem, key_pem }),
                Renewal::Issue(reason) => tracing::info!(reason, "a new server certificate is made"),
            }
        }
        let Issued { certificate_pem: chain_pem, key_pem } =
            authority.issue_server(names, validity(now, SERVER_LIFE))?;
        // The key first: a certificate without its key would be taken for whole at the next start.
        disk.remove(&chain).ok();
        disk.write_atomic(&key, key_pem.as_bytes()).context("the server's key cannot be kept")?;
        disk.write_atomic(&chain, chain_pem.as_bytes()).context("the server's certificate cannot be kept")?;
        Ok(Self { authority, chain_pem, key_pem })
    }
}

fn open_authority(disk: &dyn Disk, folder: &Path, now: Timestamp) -> anyhow::Result<Authority> {
    let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
    if let (Some(certificate_pem), Some(key_pem)) = (text(disk, &certificate), text(disk, &key)) {
        let authority = Authority::from_pem(&certificate_pem, &key_pem)
            .with_context(|| format!("the hub's authority in {} cannot be read", folder.display()))?;
        if isotherm_pki::not_after(&certificate_pem)? > now {
            return Ok(authority);
        }
        tracing::warn!("the hub's authority has expired; clients must fetch the new ca.pem");
    }
    // Good from 1970 on: neither a hub that makes it before its clock is set nor a client whose clock is not set
    // yet shall find it "not yet valid".
    let authority = Authority::create(
        "isotherm hub authority",
        Timestamp::UNIX_EPOCH,
        now.max(BUILT_AFTER).saturating_add(AUTHORITY_LIFE)?,
    )?;
    disk.remove(&certificate).ok();
    disk.write_atomic(&key, authority.key_pem().as_bytes()).context("the authority's key cannot be kept")?;
    disk.write_atomic(&certificate, authority.certificate_pem().as_bytes())
        .context("the authority's certificate cannot be kept")?;
    Ok(authority)
}

/// From a week ago until `life` from now. A clock that is plainly not set yet counts from 1970, so that the
/// certificate is good when it is set, and old enough then to be made anew.
pub(crate) fn validity(now: Timestamp, life: SignedDuration) -> Validity {
    let not_before = if now < BUILT_AFTER {
        Timestamp::UNIX_EPOCH
    } else {
        now.checked_sub(CLOCKS_DIFFER).unwrap_or(Timestamp::UNIX_EPOCH)
    };
    let not_after = now.max(BUILT_AFTER).checked_add(life.max(DAY)).unwrap_or(Timestamp::MAX);
    Validity { not_before, not_after }
}

fn text(disk: &dyn Disk, path: &Path) -> Option<String> {
    disk.read(path).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotherm_host::MemoryDisk;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0); // 2027-01-15

    fn open(disk: &MemoryDisk, names: &[&str], now: Timestamp) -> Certificates {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Certificates::open(disk, Path::new("/pki"), &names, now).unwrap()
    }

    #[test]
    fn what_was_made_is_kept_while_it_serves() {
        let disk = MemoryDisk::new();
        let first = open(&disk, &["hub", "localhost"], NOW);
        let second = open(&disk, &["hub", "localhost"], NOW + DAY);
        assert_eq!(first.authority.certificate_pem(), second.authority.certificate_pem());
        assert_eq!(first.chain_pem, second.chain_pem);
        assert_eq!(first.key_pem, second.key_pem);
    }

    #[test]
    fn other_names_and_old_age_make_a_new_certificate_under_the_same_authority() {
        let disk = MemoryDisk::new();
        let first = open(&disk, &["hub"], NOW);
        let renamed = open(&disk, &["hub", "edge01"], NOW);
        assert_ne!(first.chain_pem, renamed.chain_pem);
        let aged = open(&disk, &["hub", "edge01"], NOW + SERVER_LIFE - 100 * DAY);
        assert_ne!(renamed.chain_pem, aged.chain_pem);
        assert_eq!(first.authority.certificate_pem(), aged.authority.certificate_pem());
    }

    #[test]
    fn a_hub_first_started_in_1970_has_an_authority_that_is_good_when_its_clock_is_set() {
        let disk = MemoryDisk::new();
        let unset = Timestamp::constant(30, 0);
        let first = open(&disk, &["hub"], unset);
        let later = open(&disk, &["hub"], NOW);
        assert_eq!(first.authority.certificate_pem(), later.authority.certificate_pem());
        for pem in [first.authority.certificate_pem(), &first.chain_pem, &later.chain_pem] {
            assert!(isotherm_pki::not_after(pem).unwrap() > NOW);
        }
        assert_eq!(validity(unset, SERVER_LIFE).not_before, Timestamp::UNIX_EPOCH);
        assert!(validity(NOW, SERVER_LIFE).not_before < NOW);
    }
}
