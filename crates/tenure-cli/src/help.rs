//! Help texts in the layout that etcdctl's users know.

use crate::command_line::{Flag, Group, Kind, Spec};

/// The name of the program.
pub const PROGRAM: &str = "tenurectl";

const SHARED_FLAGS: &str = "for a list of global command-line options (applies to all commands).";

/// What `--help` prints for the last command of a path from the root.
#[must_use]
pub fn text(path: &[&'static Spec]) -> String {
    let spec = path[path.len() - 1];
    let about = if spec.long.is_empty() { spec.about } else { spec.long };
    format!("{}\n\n{}Use \"{PROGRAM} options\" {SHARED_FLAGS}\n", about.trim(), usage(path))
}

/// How the last command of a path from the root is used.
#[must_use]
pub fn usage(path: &[&'static Spec]) -> String {
    let spec = path[path.len() - 1];
    let names: Vec<&str> = path.iter().map(|spec| spec.name()).collect();
    let names = names.join(" ");
    let mut out = String::from("Usage:\n");
    if spec.run.is_some() {
        let above = names.strip_suffix(spec.name()).unwrap_or_default();
        out.push_str(&format!("  {above}{} [flags]\n", spec.words));
    }
    if !spec.commands.is_empty() {
        out.push_str(&format!("  {names} [command]\n"));
        push_commands(spec, &mut out);
    }
    if path.len() > 1 {
        let about = format!("help for {}", spec.name());
        let mut rows: Vec<_> = spec.flags.iter().chain(spec.shared).map(row).collect();
        rows.push((String::from("help"), String::from("  -h, --help"), about));
        out.push_str(&format!("\nFlags:\n{}", flag_lines(rows)));
    }
    let above: Vec<_> = path[..path.len() - 1].iter().flat_map(|spec| spec.shared).map(row).collect();
    if !above.is_empty() {
        out.push_str(&format!("\nGlobal Flags:\n{}", flag_lines(above)));
    }
    if !spec.commands.is_empty() {
        out.push_str(&format!("\nUse \"{names} [command] --help\" for more information about a command.\n"));
    }
    out
}

/// The flags that all commands share.
#[must_use]
pub fn shared_flags(flags: &[Flag]) -> String {
    flag_lines(flags.iter().map(row).collect())
}

fn push_commands(spec: &Spec, out: &mut String) {
    let groups = [
        (Some(Group::KeyValue), "Key-value commands"),
        (Some(Group::Maintenance), "Cluster maintenance commands"),
        (Some(Group::Concurrency), "Concurrency commands"),
        (Some(Group::Authentication), "Authentication commands"),
        (Some(Group::Utility), "Utility commands"),
        (None, "Available Commands:"),
    ];
    const WIDTH_MIN: usize = 11;
    let listed = spec.commands.iter().filter(|spec| spec.group != Some(Group::Elsewhere));
    let width = listed.map(|spec| spec.name().len()).fold(WIDTH_MIN, usize::max);
    for (group, title) in groups {
        let mut commands: Vec<_> = spec.commands.iter().filter(|spec| spec.group == group).collect();
        commands.sort_by_key(|spec| spec.name());
        if !commands.is_empty() {
            out.push_str(&format!("\n{title}\n"));
        }
        for command in commands {
            out.push_str(&format!("  {:<width$} {}\n", command.name(), command.about));
        }
    }
}

/// A flag's name, its left column, its right column.
fn row(flag: &Flag) -> (String, String, String) {
    let kind = match flag.kind {
        Kind::Bool => "",
        Kind::Text => " string",
        Kind::Texts => " strings",
        Kind::Int => " int",
        Kind::Uint => " uint",
        Kind::Duration => " duration",
    };
    let left = match flag.short {
        Some(short) => format!("  -{short}, --{}{kind}", flag.name),
        None => format!("      --{}{kind}", flag.name),
    };
    let default = match (flag.kind, flag.default) {
        (_, "") => String::new(),
        (Kind::Text, default) => format!(" (default \"{default}\")"),
        (Kind::Texts, default) => format!(" (default [{default}])"),
        (_, default) => format!(" (default {default})"),
    };
    (flag.name.to_owned(), left, format!("{}{default}", flag.help))
}

fn flag_lines(mut rows: Vec<(String, String, String)>) -> String {
    rows.sort();
    let width = rows.iter().map(|(_, left, _)| left.len()).max().unwrap_or_default();
    rows.into_iter().map(|(_, left, right)| format!("{left:<width$}   {right}\n")).collect()
}
