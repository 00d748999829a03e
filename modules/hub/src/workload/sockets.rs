//! A workload socket for each module, as edgeAgent hands them out: `{folder}/{module}/workload.sock`. Who may open a
//! folder's socket is that module, so it may ask for itself and for nobody else. A folder can be mounted into a
//! container as a whole, and so outlives a hub that is started again.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Workload, listen};

/// The socket's name in its module's folder.
const SOCKET: &str = "workload.sock";
/// How often it is looked whether modules came or went.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Sockets at once: as many as a device may have modules. A module beyond would have to come in with its key.
const SOCKETS_MAX: usize = 50;

/// The sockets that are open.
pub(crate) struct Sockets {
    workload: Workload,
    folder: PathBuf,
    open: BTreeMap<String, JoinHandle<()>>,
    told: Told,
}

/// What was said of the sockets that cannot be served: each reason once, and again only when it changes.
#[derive(Debug, Default)]
struct Told(BTreeMap<String, String>);

impl Told {
    /// Whether this module's socket is refused for a reason that was not said before.
    fn refused(&mut self, module: &str, reason: &str) -> bool {
        self.0.insert(module.to_owned(), reason.to_owned()).as_deref() != Some(reason)
    }

    /// Whether this module's socket was refused before.
    fn served(&mut self, module: &str) -> bool {
        self.0.remove(module).is_some()
    }
}

impl Sockets {
    /// Opens one for each module that there is.
    pub(crate) async fn open(workload: Workload, folder: &Path) -> Self {
        let mut sockets =
            Self { workload, folder: folder.to_owned(), open: BTreeMap::new(), told: Told::default() };
        sockets.look().await;
        sockets
    }

    /// Where each module finds its own.
    pub(crate) fn addresses(&self) -> BTreeMap<String, String> {
        let address = |module: &String| format!("unix://{}", self.folder.join(module).join(SOCKET).display());
        self.open.keys().map(|module| (module.clone(), address(module))).collect()
    }

    /// Opens and closes sockets as modules come and go, until the hub ends.
    pub(crate) async fn keep(mut self) {
        let stop = self.workload.shared.host.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                () = tokio::time::sleep(LOOK_EVERY) => self.look().await,
            }
        }
        for (_, task) in self.open {
            let _ = task.await; // it ends with the hub, and takes its file away
        }
    }

    async fn look(&mut self) {
        let modules = self.workload.modules();
        self.open.retain(|module, task| {
            let stays = modules.contains(module) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        self.told.0.retain(|module, _| modules.contains(module));
        for module in modules {
            if self.open.len() < SOCKETS_MAX && !self.open.contains_key(&module) {
                self.try_one(module).await;
            }
        }
    }

    async fn try_one(&mut self, module: String) {
        match self.serve(&module).await {
            Ok(task) => {
                if self.told.served(&module) {
                    tracing::info!(module, "the module's workload socket is served now");
                }
                self.open.insert(module, task);
            }
            Err(error) if self.told.refused(&module, &error.to_string()) => {
                let right = "a folder that the hub's user may write to";
                tracing::warn!(%error, module, right, "the module's workload socket is not served");
            }
            Err(_) => {}
        }
    }

    async fn serve(&self, module: &str) -> std::io::Result<JoinHandle<()>> {
        let host = &self.workload.shared.host;
        let folder = self.folder.join(module);
        host.disk.create_dir(&folder)?;
        let path = folder.join(SOCKET);
        let listener = host.network.listen_unix(&path).await?;
        // For its owner alone. A simulated socket has no file.
        let _ = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600));
        let workload = Workload { only: Some(Arc::from(module)), ..self.workload.clone() };
        Ok(tokio::spawn(listen(workload, listener)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_cannot_be_served_is_told_of_once_and_again_when_the_reason_changes() {
        let mut told = Told::default();
        let news = ["denied", "denied", "read-only", "read-only", "denied"]
            .map(|reason| told.refused("sensor", reason));
        assert_eq!(news, [true, false, true, false, true]);
        assert!(told.refused("filter", "denied"), "each module has a word of its own");
        assert_eq!([told.served("sensor"), told.served("sensor")], [true, false]);
        assert!(told.refused("sensor", "denied"), "it had been served in between");
    }
}
