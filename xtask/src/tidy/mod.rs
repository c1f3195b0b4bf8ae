//! `cargo xtask tidy`: what neither the compiler nor clippy looks at.

mod claims;
mod examples;
mod graph;
mod source;
mod tutorial;

use crate::root;
use anyhow::{Context, Result, ensure};
use std::{fs, path::Path, process::Command};

/// Text files that are looked into for words that must not be in the repository.
const TEXT: [&str; 9] = ["rs", "toml", "md", "sh", "txt", "yml", "go", "proto", "json"];

/// Runs all rules; true when none is broken.
///
/// # Errors
/// The checkout cannot be read, or cargo or git does not run.
pub fn run() -> Result<bool> {
    let root = root();
    let mut faults = Vec::new();
    let (paths, mut sources) = (tracked(&root)?, Vec::new());
    for path in &paths {
        let extension = path.rsplit('.').next().unwrap_or_default();
        if !TEXT.contains(&extension) && path != ".ci/run" {
            continue;
        }
        let Ok(text) = fs::read_to_string(root.join(path)) else { continue };
        faults.extend(source::any(path, &text));
        if extension == "rs" {
            faults.extend(source::rust(path, &text));
            faults.extend(examples::missing(path, &text));
            sources.push(text);
        }
    }
    let document = "docs/security.md";
    faults.extend(claims::security(document, &fs::read_to_string(root.join(document))?, &sources, &paths));
    faults.extend(tutorials(&root)?);
    faults.extend(graph::crates(&root)?);
    for fault in &faults {
        println!("{fault}");
    }
    println!("tidy: {} faults", faults.len());
    Ok(faults.is_empty())
}

fn tutorials(root: &Path) -> Result<Vec<String>> {
    let mut examples = Vec::new();
    for entry in fs::read_dir(root.join("crates/tenure-client/examples"))? {
        examples.push(fs::read_to_string(entry?.path())?);
    }
    let mut faults = Vec::new();
    for path in ["docs/tutorial.md", "docs/tutorial.zh-CN.md"] {
        faults.extend(tutorial::blocks(path, &fs::read_to_string(root.join(path))?, &examples));
    }
    Ok(faults)
}

/// Paths under version control, and new ones that are not ignored.
fn tracked(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git ls-files")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}
