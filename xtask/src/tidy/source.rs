//! Rules for single files.

use regex::Regex;
use std::sync::LazyLock;

/// Characters of a line; rustfmt keeps code at 110, comments and texts may be wider.
const WIDTH_MAX: usize = 140;
/// Lines of a file, without its tests.
const LINES_MAX: usize = 1000;
/// Lines of a function, from its name to its brace.
const FUNCTION_LINES_MAX: usize = 80;

/// The modules of the core in the order of their line: each may use those before it, and none of its own rank.
const CORE: [&[&str]; 7] = [
    &["types"],
    &["command"],
    &["effects"],
    &["lease", "alarm", "membership", "auth"],
    &["mvcc"],
    &["state"],
    &["node"],
];

macro_rules! pattern {
    ($text:expr) => {{
        static PATTERN: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($text).expect("a constant pattern compiles"));
        &*PATTERN
    }};
}

/// A rule by the words that break it.
struct Ban {
    pattern: &'static Regex,
    why: &'static str,
}

fn bans() -> [Ban; 5] {
    // The words are put together here, so that this file does not break its own rules.
    [
        Ban {
            pattern: pattern!(concat!(
                r"\b(struct|enum|trait|type|mod) \w*(Manag",
                "er|Help",
                "er|Util|Utils|Inn",
                "er|Im",
                r"pl)\b"
            )),
            why: "a name that says nothing",
        },
        Ban {
            pattern: pattern!(concat!(r"\bmod (util|utils|help", "ers?|common|misc)\\b")),
            why: "a module of leftovers",
        },
        Ban { pattern: pattern!(concat!(r"\bfn ge", r"t_\w+")), why: "a getter is named for what it gives" },
        Ban {
            pattern: pattern!(concat!(
                "unbounded",
                r"_channel|mpsc::unbound",
                r"ed\b|mpsc::chan",
                r"nel::<?\(?\)"
            )),
            why: "a queue without a bound",
        },
        Ban { pattern: pattern!(concat!(r"\b(TO", "DO|FIX", r"ME|XX", r"X)\b")), why: "unfinished" },
    ]
}

/// Rules for every text file.
pub fn any(path: &str, text: &str) -> Vec<String> {
    let machine = pattern!(concat!(r"(^|[\s\x22'=(`:])/(wo", "rk|ro", "ot|ho", r"me)/"));
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // What a foreign program printed is quoted as it is.
        if machine.is_match(line) && !path.starts_with("e2e/scripts/") {
            faults.push(format!("{path}:{}: a path of one machine", number + 1));
        }
    }
    faults
}

/// Rules for Rust.
pub fn rust(path: &str, text: &str) -> Vec<String> {
    let code = without_tests(path, text);
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let at = || format!("{path}:{}", number + 1);
        let width = line.chars().count();
        // What a test expects is often one long line.
        if width > WIDTH_MAX && number < code.len() {
            faults.push(format!("{}: {width} characters", at()));
        }
        for ban in bans() {
            // `get_ref` is how the standard library names access to what is wrapped, `get_stream` reads as etcd's `get` does.
            let is_name = |text: &str| text.ends_with("_ref") || text.ends_with("_stream");
            if let Some(found) = ban.pattern.find(line).filter(|found| !is_name(found.as_str())) {
                faults.push(format!("{}: {}: {}", at(), found.as_str(), ban.why));
            }
        }
    }
    if code.len() > LINES_MAX {
        faults.push(format!("{path}: {} lines without tests", code.len()));
    }
    for (name, line, lines) in functions(&code) {
        if lines > FUNCTION_LINES_MAX {
            faults.push(format!("{path}:{line}: {name} has {lines} lines"));
        }
    }
    faults.extend(core_line(path, &code));
    faults
}

/// The lines before the tests; none of a file that is tests as a whole.
pub(super) fn without_tests<'a>(path: &str, text: &'a str) -> Vec<&'a str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    if path.contains("/tests/")
        || path.contains("/tests.rs")
        || name.ends_with("_test.rs")
        || name == "testing.rs"
    {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut end = lines.len();
    for (number, pair) in lines.windows(2).enumerate() {
        if pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{') {
            end = number;
        }
    }
    lines[..end].to_vec()
}

/// Name, first line and length of every function. Formatted code closes a function at the indent that it opens at.
fn functions(code: &[&str]) -> Vec<(String, usize, usize)> {
    let head = pattern!(r"^(\s*)(?:pub(?:\([^)]*\))? )?(?:const )?(?:async )?(?:unsafe )?fn (\w+)");
    let mut found = Vec::new();
    for (number, line) in code.iter().enumerate() {
        let Some(captures) = head.captures(line) else { continue };
        let brace = format!("{}}}", &captures[1]);
        let Some(length) = code[number..].iter().position(|line| *line == brace) else { continue };
        // A declaration in a trait has no body; the brace found is another one's.
        let is_declaration = code[number..number + length].iter().find(|line| line.ends_with(['{', ';']));
        if is_declaration.is_some_and(|line| line.ends_with(';')) {
            continue;
        }
        found.push((captures[2].to_owned(), number + 1, length + 1));
    }
    found
}

/// The modules of the core form a line.
fn core_line(path: &str, code: &[&str]) -> Vec<String> {
    let Some(inside) = path.strip_prefix("crates/tenure-core/src/") else { return Vec::new() };
    let own = inside.split(['/', '.']).next().unwrap_or_default();
    let rank = |name: &str| CORE.iter().position(|names| names.contains(&name));
    let Some(own_rank) = rank(own) else { return Vec::new() };
    let mut faults = Vec::new();
    for (number, line) in code.iter().enumerate() {
        let line = line.split("//").next().unwrap_or_default();
        for found in pattern!(r"crate::(\w+)").captures_iter(line) {
            let used = &found[1];
            if used != own && rank(used).is_some_and(|rank| rank >= own_rank) {
                faults.push(format!("{path}:{}: {own} may not use {used}", number + 1));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        rust("crates/x/src/lib.rs", text).join("; ")
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        let name = ["Connection", "Manager"].concat();
        assert!(faults(&format!("pub struct {name} {{")).contains("says nothing"));
        assert!(faults(&format!("fn {}value() {{", "get_")).contains("getter"));
        assert!(
            faults(&format!("let x = mpsc::{}();", ["unbounded", "_channel"].concat())).contains("bound")
        );
        assert!(faults(&format!("// {}: later", ["TO", "DO"].concat())).contains("unfinished"));
        assert_eq!(faults("struct Manage { target: u8 }\nfn getter() {}"), "");
    }

    #[test]
    fn wide_lines_and_long_files_are_found() {
        assert!(faults(&format!("// {}", "x".repeat(138))).contains("141 characters"));
        assert_eq!(faults(&format!("// {}", "x".repeat(137))), "");
        let long = "const X: u8 = 0;\n".repeat(1001);
        assert!(faults(&long).contains("1001 lines"));
        let tests = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert_eq!(faults(&tests), "");
        assert!(rust("crates/x/tests/long.rs", &long).is_empty());
    }

    #[test]
    fn long_functions_are_found() {
        let function = |lines| {
            format!("impl X {{\n    pub async fn f() {{\n{}    }}\n}}\n", "        x();\n".repeat(lines))
        };
        assert_eq!(faults(&function(78)), "");
        assert!(faults(&function(79)).contains("crates/x/src/lib.rs:2: f has 81 lines"));
        let declaration = format!("trait X {{\n    fn f();\n{}}}\n", "    // x\n".repeat(100));
        assert_eq!(faults(&declaration), "");
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let path = ["/ro", "ot/.cache"].concat();
        assert_eq!(any("x.md", &format!("see {path}")).len(), 1);
        let within = ["target/ro", "ot/x"].concat();
        assert!(any("x.md", &format!("see {within} and /opt/etcd")).is_empty());
    }

    #[test]
    fn the_line_of_the_core_holds() {
        let core =
            |path: &str, text: &str| core_line(&format!("crates/tenure-core/src/{path}"), &[text]).len();
        assert_eq!(core("mvcc/range.rs", "use crate::state::Effects;"), 1);
        assert_eq!(core("lease/mod.rs", "use crate::alarm::Alarms;"), 1, "none of its own rank");
        assert_eq!(core("effects.rs", "use crate::mvcc::Mvcc;"), 1);
        assert_eq!(core("mvcc/range.rs", "use crate::mvcc::Mvcc; // crate::node"), 0);
        assert_eq!(core("state/mod.rs", "use crate::lease::Leases;"), 0);
    }
}
