//! Values of flags that must not reach a log.

/// What stands where a secret stood.
pub(super) const HIDDEN: &str = "<hidden>";

/// Whether the value of a flag is, or has in it, a password.
pub(super) fn is_secret(flag: &str) -> bool {
    matches!(flag, "discovery-password" | "discovery-user")
}

/// Whether an environment variable that is no flag's may hold a password: by a slip in its name it is one's, nearly.
pub(super) fn may_be_secret(variable: &str) -> bool {
    ["PASS", "SECRET", "TOKEN", "USER"].iter().any(|part| variable.contains(part))
}

/// A command line as a log may show it.
///
/// ```
/// use tenure_server::config::without_secrets;
///
/// let words = ["--name=m1", "--discovery-password=xyzzy"].map(str::to_owned);
/// assert_eq!(without_secrets(&words), ["--name=m1", "--discovery-password=<hidden>"]);
/// ```
#[must_use]
pub fn without_secrets(arguments: &[String]) -> Vec<String> {
    let mut follows = false;
    let shown = arguments.iter().map(|word| {
        if std::mem::take(&mut follows) {
            return HIDDEN.to_owned();
        }
        let dashes = word.len() - word.trim_start_matches('-').len();
        match word[dashes..].split_once('=') {
            _ if dashes == 0 => word.clone(),
            Some((name, _)) if is_secret(name) => format!("{}{name}={HIDDEN}", &word[..dashes]),
            Some(_) => word.clone(),
            None => {
                follows = is_secret(&word[dashes..]);
                word.clone()
            }
        }
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a8_a_command_line_is_shown_without_its_secrets() {
        let shown = |words: &[&str]| {
            without_secrets(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()).join(" ")
        };
        assert_eq!(
            shown(&["tenured", "-discovery-user=a:xyzzy", "--discovery-password", "xyzzy", "--name", "m1"]),
            "tenured -discovery-user=<hidden> --discovery-password <hidden> --name m1"
        );
        assert_eq!(shown(&["--discovery-password"]), "--discovery-password");
        assert_eq!(shown(&["--name=discovery-password", "x", "-", "--"]), "--name=discovery-password x - --");
    }
}
