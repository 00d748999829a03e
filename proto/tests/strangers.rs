//! Two strangers read and write our golden files: Python's protobuf and Go's, neither of which shares a line with
//! ours. Each also plays a program from before the messages grew: it knows only fields 1 and 2.
//!
//! The strangers build their messages at run time from our descriptors, so no protoc is needed. What they are made
//! of is fetched once into `target/strangers` by pip and by go; where that cannot be had, the test says why it was
//! skipped. With `ISOTHERM_STRANGERS=required` that is a failure.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use isotherm_proto::{Body, DESCRIPTORS};

/// Says what could not run here and why, past the test harness, which keeps what a passing test prints to itself.
macro_rules! skipped {
    ($($why:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: {}", format_args!($($why)*));
    }};
}

/// How long fetching, building or running a stranger may take, in seconds; `timeout` of the system keeps it.
const PATIENCE_S: &str = "120";

#[test]
fn a_python_program_reads_and_writes_the_golden_files() {
    judge("python", python);
}

#[test]
fn a_go_program_reads_and_writes_the_golden_files() {
    judge("go", go);
}

/// Runs a stranger, then reads what it wrote. `Err` from `prepare` is a reason to skip.
fn judge(name: &str, prepare: fn(&Path) -> Result<Command, String>) {
    let home = target().join("strangers").join(name);
    let out = home.join("out");
    fs::create_dir_all(&out).unwrap();
    let mut stranger = match prepare(&home) {
        Ok(stranger) => stranger,
        Err(reason) => return skip(name, &reason),
    };
    let descriptors = home.join("isotherm.v1.descriptors");
    fs::write(&descriptors, DESCRIPTORS).unwrap();

    let output = stranger.args([&descriptors, &golden(), &out]).output().unwrap();
    assert!(output.status.success(), "{name}: {}", said(&output));
    let files: Vec<_> = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let files: Vec<_> = files.iter().filter(|path| path.extension().is_some_and(|it| it == "bin")).collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("{} files", files.len()));
    for file in files {
        check_what_was_written(file, &out);
    }
}

/// A message by the stranger is ours byte for byte; one of two fields is what two fields can say of it.
fn check_what_was_written(golden: &Path, out: &Path) {
    let name = golden.file_name().unwrap().to_str().unwrap();
    let ours = fs::read(golden).unwrap();
    assert_eq!(fs::read(out.join(format!("new-{name}"))).unwrap(), ours, "{name}");

    let full = Body::decode(&ours).unwrap();
    let old = Body::decode(&fs::read(out.join(format!("old-{name}"))).unwrap()).unwrap();
    assert_eq!(full.readings().len(), old.readings().len(), "{name}");
    for (full, old) in full.readings().iter().zip(old.readings()) {
        assert_eq!((old.celsius, old.at), (full.celsius, full.at), "{name}");
        assert_eq!((old.sensor_id.as_str(), old.sequence), ("", 0), "{name}");
    }
}

fn python(home: &Path) -> Result<Command, String> {
    let source = source("python");
    let python = home.join("venv/bin/python");
    let wanted = fs::read_to_string(source.join("requirements.txt")).unwrap();
    let stamp = home.join("installed");
    if fs::read_to_string(&stamp).ok().as_ref() != Some(&wanted) {
        run(patient("python3").args(["-m", "venv"]).arg(home.join("venv")))?;
        run(patient(&python)
            .args(["-m", "pip", "install", "-q", "-r"])
            .arg(source.join("requirements.txt")))?;
        fs::write(stamp, wanted).unwrap();
    }
    let mut stranger = patient(&python);
    stranger.arg(source.join("stranger.py"));
    Ok(stranger)
}

fn go(home: &Path) -> Result<Command, String> {
    let binary = home.join("stranger");
    run(patient("go").args(["build", "-o"]).arg(&binary).arg(".").current_dir(source("go")))?;
    Ok(patient(&binary))
}

/// The program, to be ended when patience is over.
fn patient(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE_S).arg(program.as_ref());
    command
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", said(&output))) }
}

fn said(output: &Output) -> String {
    format!("{} {}", output.status, String::from_utf8_lossy(&output.stderr).trim())
}

#[expect(clippy::disallowed_methods, reason = "a test asks whether it may skip; no product code runs here")]
fn skip(name: &str, reason: &str) {
    assert!(env::var("ISOTHERM_STRANGERS").is_err(), "{name}: {reason}");
    skipped!("{name}: {reason}");
}

fn source(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/strangers").join(name)
}

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The folder that cargo builds into.
fn target() -> PathBuf {
    let temporary = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().expect("cargo's folder for tests is inside the target folder").to_owned()
}
