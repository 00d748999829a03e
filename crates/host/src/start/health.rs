//! `health`: asks the running module, and the module answers from its own event loop.
//!
//! The module listens on a Unix socket in its state folder. An answer proves that the process lives and that its
//! loop turns: a module that hangs does not answer. It does not say that the hub can be reached; a lost link is not
//! an error.

use super::Unavailable;
use crate::{BoxListener, DEFAULT_STATE_FOLDER, Env, Host};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

/// How long the module may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// What it says.
const ANSWER: &[u8] = b"ok\n";
/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Answers whoever asks, from a task of its own.
pub(super) async fn serve(host: &Host, name: &str) -> io::Result<()> {
    let folder = host.state_folder();
    host.disk.create_dir(folder)?;
    let listener = host.network.listen_unix(&socket(folder, name)).await?;
    let stop = host.stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stop.stopped() => {} // a module on its way out is not healthy any more
            () = answer(listener) => {}
        }
    });
    Ok(())
}

/// One asker after the other: each is given a moment, and who connects meanwhile waits in the system's queue.
async fn answer(listener: BoxListener) {
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let _ = timeout(ANSWER_TIMEOUT, stream.write_all(ANSWER)).await; // who left needs no answer
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Asks the module `name` that runs on the state folder of `env`.
pub(super) fn ask(env: &Env, name: &str) -> anyhow::Result<()> {
    let folder = env.get("ISOTHERM_STATE").unwrap_or(DEFAULT_STATE_FOLDER);
    let answered = (|| {
        let mut stream = UnixStream::connect(socket(Path::new(folder), name))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut answer = [0; ANSWER.len()];
        stream.read_exact(&mut answer)?;
        if answer == ANSWER { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    })();
    answered.map_err(|error: io::Error| {
        Unavailable(format!("no running {name} answers in the state folder {folder} ({error})")).into()
    })
}

fn socket(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.health"))
}

#[cfg(test)]
mod tests {
    use super::super::exit_status;
    use super::*;

    #[tokio::test]
    async fn a_running_module_answers_and_one_that_stops_does_not() {
        let folder = std::env::temp_dir().join(format!("isotherm-health-{}", std::process::id()));
        let env = Env::of([("ISOTHERM_STATE", folder.to_str().unwrap())]);
        let host = Host::real().with_env(env.clone());
        let asking = || {
            let env = env.clone();
            host.blocking(move || ask(&env, "sensor"))
        };
        assert_eq!(exit_status(&asking().await.unwrap_err()), 69);
        serve(&host, "sensor").await.unwrap();
        asking().await.unwrap();
        asking().await.unwrap();

        host.stop.stop();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(exit_status(&asking().await.unwrap_err()), 69);
        host.disk.remove_dir(&folder).unwrap();
    }
}
