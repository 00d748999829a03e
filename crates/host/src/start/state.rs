//! What is said when the state folder cannot be used: the first thing that goes wrong where a volume is missing or
//! belongs to somebody else.

use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::anyhow;

use crate::WiringError;

const VARIABLE: &str = "ISOTHERM_STATE";

/// The error that ends the process, if `error` says that nothing can be kept in `folder`. A read-only disk may be
/// writable at the next start, so it is no matter of configuration; all else is.
pub(super) fn unusable(folder: &Path, error: &io::Error) -> Option<anyhow::Error> {
    let user = rustix::process::getuid().as_raw();
    let help = match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("{} must belong to user {user}, as whom this runs", folder.display())
        }
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            "right would be a folder, or one that can be made; in a container a volume".to_owned()
        }
        ErrorKind::ReadOnlyFilesystem => {
            let shown = folder.display();
            return Some(anyhow!(
                "{VARIABLE}: {error}; {shown} must be writable: in a container a volume that is mounted there, and not `ro`"
            ));
        }
        _ => return None, // a path too long for a socket, say: all else still works
    };
    Some(WiringError::new(VARIABLE, format!("{error}; {help}")).into())
}
