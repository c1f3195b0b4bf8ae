//! Which crate may need which.

use anyhow::{Context, Result};
use std::{path::Path, process::Command};

/// What must not be found below a crate, each crate looked at by itself (features that another crate turns on do not count).
const ABSENT: [(&str, &[&str]); 11] = [
    ("tenure-api", &["tenure-core", "tenure-storage", "tenure-server", "tenure-harness"]),
    (
        "tenure-core",
        &["tokio", "tonic", "mio", "hyper", "h2", "axum", "rustix", "tenure-storage", "tenure-server"],
    ),
    ("tenure-storage", &["tokio", "tonic", "hyper", "h2", "tenure-server"]),
    ("tenure-check", &["tokio", "tonic", "tenure-api", "tenure-core", "tenure-storage", "tenure-server"]),
    ("tenure-trust", &["tokio", "tonic", "tenure-api", "tenure-core", "tenure-storage", "tenure-server"]),
    ("tenure-sim", &["tokio", "tonic", "tenure-server"]),
    ("tenure-server", &["tenure-cli", "tenure-sim", "tenure-harness"]),
    ("tenure-client", &["tenure-core", "tenure-storage", "tenure-server", "tenure-harness", "axum", "tower"]),
    ("tenure-cli", &["tenure-core", "tenure-storage", "tenure-server"]),
    ("tenure-harness", &["tenure-core", "tenure-storage", "tenure-server"]),
    ("xtask", &["tenure-core", "tenure-storage", "tenure-server"]),
];

/// Faults of the graph of crates.
///
/// # Errors
/// cargo does not run.
pub fn crates(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (package, absent) in ABSENT {
        let tree = tree(root, package)?;
        let found = absent.iter().filter(|name| contains(&tree, name));
        faults.extend(
            found.map(|name| format!("{package} needs {name}: cargo tree -p {package} -e normal -i {name}")),
        );
    }
    Ok(faults)
}

fn tree(root: &Path, package: &str) -> Result<String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--no-dedupe",
            "--format",
            "{p}",
        ])
        .args(["--no-default-features"].iter().filter(|_| package == "tenure-api"))
        .current_dir(root)
        .output()
        .context("cargo tree")?;
    anyhow::ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn contains(tree: &str, name: &str) -> bool {
    tree.lines().skip(1).any(|line| line.split(' ').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_found_by_its_whole_name_below_the_first() {
        let tree = "tenure-core v0.1.0\ntokio-stream v0.1\nbytes v1\n";
        assert!(contains(tree, "bytes"));
        assert!(!contains(tree, "tokio"));
        assert!(!contains(tree, "tenure-core"));
    }

    #[test]
    fn the_tree_of_this_crate_is_read() {
        let tree = tree(&crate::root(), "xtask").unwrap();
        assert!(contains(&tree, "tenure-harness"));
        assert!(!contains(&tree, "no-such-crate"));
    }
}
