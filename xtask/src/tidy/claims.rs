//! What the documents say is tested is tested.

use std::collections::BTreeSet;

/// Rules and advisories that need a row.
const ROWS: [&str; 23] = [
    "A1",
    "A2",
    "A3",
    "A4",
    "A5",
    "A6",
    "A7",
    "A8",
    "A9",
    "A10",
    "A11",
    "A12",
    "A13",
    "A14",
    "A15",
    "CVE-2021-28235",
    "CVE-2023-32082",
    "CVE-2026-33343",
    "CVE-2026-33413",
    "CVE-2026-44283",
    "GHSA-3wh4-j44w-pg92",
    "GHSA-6vch-q96h-7gc3",
    "GHSA-xg4h-6gfc-h4m8",
];

/// Rows of the table of security that are missing, and tests and files that it names and that are not there.
///
/// * `sources`: the text of every file of Rust.
/// * `paths`: every file of the repository.
pub fn security(path: &str, document: &str, sources: &[String], paths: &[String]) -> Vec<String> {
    let tests: BTreeSet<&str> = sources.iter().flat_map(|source| tests(source)).collect();
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, line) in document.lines().enumerate() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let row = cells.get(1).copied().filter(|row| cells.len() == 5 && ROWS.contains(row));
        if let Some(row) = row {
            seen.insert(row);
        }
        let named: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let named_tests: Vec<&&str> = named.iter().filter(|name| is_test_name(name)).collect();
        if row.is_some_and(|row| row != "A15") && named_tests.is_empty() {
            faults.push(format!("{path}:{}: {} has no test", number + 1, cells[1]));
        }
        for name in named_tests.into_iter().filter(|name| !tests.contains(**name)) {
            faults.push(format!("{path}:{}: there is no test {name}", number + 1));
        }
        let files = named.iter().filter(|name| name.contains('/') && !name.contains(' '));
        for file in files.filter(|file| !paths.iter().any(|known| known == *file)) {
            faults.push(format!("{path}:{}: there is no file {file}", number + 1));
        }
    }
    faults.extend(
        ROWS.iter().filter(|row| !seen.contains(*row)).map(|row| format!("{path}: {row} has no row")),
    );
    faults
}

/// Words joined by underscores; what else stands between backticks is shorter, or has other signs.
fn is_test_name(text: &str) -> bool {
    text.matches('_').count() >= 3
        && text.chars().all(|sign| sign == '_' || sign.is_ascii_lowercase() || sign.is_ascii_digit())
}

/// The names of the functions behind `#[test]` and `#[tokio::test]`.
fn tests(source: &str) -> impl Iterator<Item = &str> {
    let mut lines = source.lines().map(str::trim);
    std::iter::from_fn(move || {
        lines.by_ref().find(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))?;
        let function =
            lines.by_ref().find(|line| line.starts_with("fn ") || line.starts_with("async fn "))?;
        let name = function.trim_start_matches("async ").trim_start_matches("fn ");
        name.split('(').next()
    })
}

#[cfg(test)]
mod tests {
    use super::security;

    #[test]
    fn rows_tests_and_files_that_are_missing_are_found() {
        let source = "#[test]\nfn a1_is_so_and_so() {}\n#[tokio::test(flavor = \"x\")]\nasync fn a2_is_so_and_so() {}\n\
                      fn a3_is_not_so_at_all() {}\n"
            .to_owned();
        let rows = |names: &[&str]| {
            let row = |name: &&str| format!("| {name} | text | `a1_is_so_and_so`, `a2_is_so_and_so` |\n");
            names.iter().map(row).collect::<String>()
        };
        let check =
            |text: &str| security("s.md", text, std::slice::from_ref(&source), &["a/b.txt".to_owned()]);
        let all = rows(&super::ROWS);
        assert_eq!(check(&all), [""; 0]);
        assert_eq!(check(&rows(&super::ROWS[1..])), ["s.md: A1 has no row"]);
        let more =
            format!("{all}`a/b.txt` `a/c.txt` `a3_is_not_so_at_all` `a_word`\n| A1 | text | nothing |\n");
        let expected = [
            "s.md:24: there is no test a3_is_not_so_at_all",
            "s.md:24: there is no file a/c.txt",
            "s.md:25: A1 has no test",
        ];
        assert_eq!(check(&more), expected);
    }
}
