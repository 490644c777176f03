//! Embeds the panels, each a file under `panels/`, and what npm has installed for the pages.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Files of packages that pages load, by the name under which they are embedded.
const PACKAGES: [(&str, &str); 2] =
    [("UPLOT_SCRIPT", "uplot/dist/uPlot.iife.min.js"), ("UPLOT_STYLE", "uplot/dist/uPlot.min.css")];

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("panels.rs"), panels(&here.join("panels"))?)?;
    fs::write(out.join("packages.rs"), packages(&here.join("../.cache/pages"))?)?;
    Ok(())
}

/// `(group, id, text)` of every panel, in the order of groups and ids.
fn panels(folder: &Path) -> Result<String, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    for group in fs::read_dir(folder)? {
        let group = group?.path();
        println!("cargo::rerun-if-changed={}", group.display());
        for file in fs::read_dir(&group)? {
            files.push(file?.path());
        }
    }
    files.sort();
    let name = |path: Option<&std::ffi::OsStr>| path.unwrap_or_default().to_string_lossy().into_owned();
    let mut list = "&[\n".to_owned();
    for file in files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "toml")) {
        println!("cargo::rerun-if-changed={}", file.display());
        let (group, id) = (name(file.parent().and_then(Path::file_name)), name(file.file_stem()));
        writeln!(list, "    ({group:?}, {id:?}, include_str!({:?})),", file.display().to_string())?;
    }
    list.push_str("]\n");
    Ok(list)
}

fn packages(home: &Path) -> Result<String, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", home.join("stamp").display());
    let mut text = String::new();
    for (name, file) in PACKAGES {
        let path = home.join("node_modules").join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        if !path.is_file() {
            return Err(format!(
                "{file} is not installed: run `make assets` once (it needs npm), then build again"
            )
            .into());
        }
        let path = path.canonicalize()?.display().to_string();
        writeln!(text, "/// `{file}`.\npub(super) const {name}: &str = include_str!({path:?});")?;
    }
    Ok(text)
}
