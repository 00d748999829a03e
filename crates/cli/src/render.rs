//! `isotherm render`: from a deployment template, `.env` and `modules/*/module.json` to the manifest of a platform.

use std::fs::OpenOptions;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use isotherm_host::Env;
use isotherm_iothub::manifest::{self, Images, Problem, Rendered, Sources, TEMPLATE_BYTES_MAX};
use serde_json::json;

use crate::args::{CheckArgs, RenderArgs};
use crate::context::{Context, read_text};
use crate::output::Failure;

/// A template that was found right, and where its manifest goes.
pub(crate) struct Right {
    pub(crate) rendered: Rendered,
    pub(crate) platform: String,
    file_name: String,
    out: PathBuf,
}

/// Does the verb.
pub(crate) fn render(context: &Context, args: &RenderArgs) -> Result<(), Failure> {
    let right = read(context, &args.check, Images::Named)?;
    let out = args.out.clone().unwrap_or(right.out);
    let path = out.join(&right.file_name);
    let name = path.display().to_string();
    write(&path, &right.rendered.manifest).map_err(|error| Failure::No(format!("{name}: {error}")))?;
    let (modules, routes) = (right.rendered.modules, right.rendered.routes);
    let said = json!({
        "event": "rendered", "template": args.check.template.display().to_string(), "platform": right.platform,
        "path": name, "modules": modules, "routes": routes,
    });
    Ok(context
        .output
        .say(&said, format!("{name}: {modules} modules, {routes} routes, {}", right.platform))?)
}

/// Old or new, never half of it, and for its owner alone. Not synced: it can be rendered again.
fn write(path: &Path, manifest: &str) -> io::Result<()> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    let written = file.write_all(manifest.as_bytes()).and_then(|()| std::fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&unfinished); // what went wrong first is what is told
    }
    written
}

/// Reads a template and all that it refers to; says what is wrong with it.
pub(crate) fn read(context: &Context, args: &CheckArgs, images: Images) -> Result<Right, Failure> {
    let text = read_text(&args.template)?;
    let env = environment(context, args.env.as_deref())?;
    let variable = |name: &str| env.even_empty(name).map(str::to_owned);
    let set = |name: &str, otherwise: &str| env.get(name).unwrap_or(otherwise).trim().to_owned();
    let platform = args.platform.clone().unwrap_or_else(|| set("DEFAULT_PLATFORM", "amd64"));
    let folder = args.template.parent().unwrap_or(Path::new(""));
    let module_json = |module: &str| module_json(&folder.join(module));
    let sources = Sources { platform: &platform, variable: &variable, module_json: &module_json, images };
    let rendered =
        manifest::render(&text, &sources).map_err(|problems| tell(context, &args.template, &problems))?;
    let template = args.template.file_name().unwrap_or_default().to_string_lossy();
    let file_name = rendered.file_name(&template, &sources);
    let out = PathBuf::from(set("CONFIG_OUTPUT_DIR", "config"));
    Ok(Right { file_name, rendered, platform, out })
}

/// The environment, with a `.env` file under it that is read as IoT Edge's tools read it.
fn environment(context: &Context, file: Option<&Path>) -> Result<Env, Failure> {
    let outer = &context.host.env;
    let named = file.or_else(|| outer.get("DOTENV_FILE").map(Path::new));
    let text = match named {
        Some(path) => read_text(path)?,
        None => std::fs::read_to_string(".env").unwrap_or_default(),
    };
    outer.over_dotenv(&text).map_err(|wrong| {
        let name = named.unwrap_or(Path::new(".env")).display();
        Failure::Configuration(format!("{name}: {wrong}"))
    })
}

/// One byte more than a `module.json` may have, so that a longer one is seen to be.
fn module_json(folder: &Path) -> Option<String> {
    let file = std::fs::File::open(folder.join("module.json")).ok()?;
    let mut text = String::new();
    file.take(TEMPLATE_BYTES_MAX as u64 + 1).read_to_string(&mut text).ok()?;
    Some(text)
}

fn tell(context: &Context, template: &Path, problems: &[Problem]) -> Failure {
    let name = template.display();
    for problem in problems {
        let said = json!({"event": "problem", "path": problem.path, "message": problem.message});
        if let Err(error) =
            context.output.say(&said, format!("{name}: {}: {}", problem.path, problem.message))
        {
            return error.into();
        }
    }
    Failure::No(format!("{name} has {} problem(s)", problems.len()))
}
