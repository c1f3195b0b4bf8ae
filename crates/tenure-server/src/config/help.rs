//! What `--help` and `--version` print.

use super::{
    features::Feature,
    flag::{Flag, Group},
    settings::{FLAGS, Settings},
};
use std::fmt::Write;

/// The version of etcd whose behaviour this server has; `--version`, `/version` and the status of a member say it.
pub const ETCD_VERSION: &str = "3.7.1";

/// The version of Tenure.
pub const TENURE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The first lines of the help; after a wrong flag they are all that is printed.
pub const USAGE: &str = "Usage:

  tenured [flags]
    Start a member.

  tenured --version
    Show the version.

  tenured -h | --help
    Show this help.

  tenured --config-file PATH
    Take everything from a YAML file: its keys are the names of the flags, durations are whole numbers of nanoseconds.
    Other flags and the environment are then ignored.

  Every flag can be given in the environment: --listen-client-urls as ETCD_LISTEN_CLIENT_URLS.
";

/// The lines of `--version`. Tools parse the first one.
#[must_use]
pub fn version() -> String {
    format!(
        "etcd Version: {ETCD_VERSION}\nTenure Version: {TENURE_VERSION}\nOS/Arch: {}/{}\n",
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

/// All flags by section.
#[must_use]
pub fn flags() -> String {
    let defaults = Settings::default();
    let mut text = String::new();
    for group in Group::ALL {
        push(&mut text, format_args!("\n{}:\n", group.title()));
        for flag in FLAGS.iter().filter(|flag| flag.group == group) {
            push(
                &mut text,
                format_args!("  --{}{}\n    {}\n", flag.name, default_of(flag, &defaults), flag.help),
            );
            if flag.name == "feature-gates" {
                push_features(&mut text);
            }
        }
    }
    text
}

/// The default as it stands behind the name: bools bare, all else quoted as a shell would want it.
fn default_of(flag: &Flag, defaults: &Settings) -> String {
    match (flag.name, (flag.show)(defaults)) {
        ("data-dir", _) => " '${name}.tenure'".to_owned(),
        (_, default) if flag.is_bool => format!("={default}"),
        (_, default) => format!(" '{default}'"),
    }
}

fn push_features(text: &mut String) {
    for stage in ["AllAlpha=true|false (ALPHA - default=false)", "AllBeta=true|false (BETA - default=false)"]
    {
        push(text, format_args!("      {stage}\n"));
    }
    for feature in Feature::ALL {
        let (name, stage, on) = (feature.name(), feature.stage().as_str(), feature.default_on());
        push(text, format_args!("      {name}=true|false ({stage} - default={on})\n"));
    }
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(line);
    debug_assert!(written.is_ok(), "a String takes everything");
}
