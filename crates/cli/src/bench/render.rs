//! A manifest from our own template, beside iotedgedev: from the call to the end of the process, as a build waits for it.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use isotherm_host::Host;

use super::child::Folder;
use super::peers::Peers;
use super::report::Report;

/// What is rendered, and where it lies in a site's folder.
const SITE: [(&str, &str); 3] = [
    ("deployment.template.json", include_str!("../../../../deployment.template.json")),
    ("modules/sensor/module.json", include_str!("../../../../modules/sensor/module.json")),
    ("modules/filter/module.json", include_str!("../../../../modules/filter/module.json")),
];
/// What both write.
const MANIFEST: &str = "config/deployment.amd64.json";
/// How often in a row; the mean counts.
const OURS: u32 = 50;
const THEIRS: u32 = 2;

/// One round.
pub(super) fn round(host: &Host, peers: &Peers, folder: &Folder, report: &mut Report) -> io::Result<()> {
    for (name, text) in SITE {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(folder.path()))?;
        std::fs::write(path, text)?;
    }
    // It would send what it did to somebody.
    let home = folder.path().join("home");
    std::fs::create_dir_all(home.join(".iotedgedev"))?;
    let quiet = "[DEFAULT]\nfirsttime = no\ncollect_telemetry = no\n";
    std::fs::write(home.join(".iotedgedev/setting.ini"), quiet)?;

    let words = ["render", "deployment.template.json", "--platform", "amd64"];
    let ours = timed(host, folder.path(), &home, &peers.isotherm, &words, OURS)?;
    report.take("render", "isotherm", "ms", ours.0);
    let Some(stranger) = peers.iotedgedev() else { return Ok(()) };
    let words = ["genconfig", "-f", "deployment.template.json", "-P", "amd64"];
    let theirs = timed(host, folder.path(), &home, &stranger, &words, THEIRS)?;
    report.take("render", "iotedgedev", "ms", theirs.0);
    if ours.1 != theirs.1 {
        report.trouble("render: the two manifests are not the same".to_owned());
    }
    Ok(())
}

/// Milliseconds that a call took, and what it wrote.
fn timed(
    host: &Host,
    site: &Path,
    home: &Path,
    program: &Path,
    words: &[&str],
    calls: u32,
) -> io::Result<(f64, String)> {
    let manifest = site.join(MANIFEST);
    let program = std::path::absolute(program)?;
    let begun = host.now();
    for _ in 0..calls {
        let mut command = Command::new(&program);
        command.args(words).current_dir(site).env("HOME", home).env("LC_ALL", "C.UTF-8");
        let done = command.stdin(Stdio::null()).output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
            return Err(io::Error::other(format!("{}: {said}", program.display())));
        }
    }
    let took = host.now().duration_since(begun).as_secs_f64() * 1000.0 / f64::from(calls);
    let text = std::fs::read_to_string(&manifest)?;
    std::fs::remove_file(&manifest)?; // the next one writes its own
    Ok((took, text))
}
