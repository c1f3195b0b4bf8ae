//! `txn`: reads conditions and operations from standard input and carries them out as one transaction.

use super::{del, get, put};
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::{Exit, Failure},
    go::{
        number,
        quote::{quote, unquote_head},
    },
    output::{self, Answer},
};
use std::{ffi::OsString, io::BufRead, os::unix::ffi::OsStringExt};
use tenure_client::raw::etcdserverpb::{
    Compare, RequestOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
};

/// `txn`.
pub static SPEC: Spec = Spec {
    words: "txn [options]",
    about: "Carries out a transaction read from standard input",
    long: "Reads a transaction from standard input and carries it out.

It has three parts, each ended by an empty line:
1) conditions,
2) what to do if all of them hold,
3) what to do otherwise.

A condition compares create, mod, version, value or lease of a key by <, =, !=, >:

mod(\"key1\") > \"0\"

put key1 \"overwrote-key1\"

put key1 \"created-key1\"
put key2 \"some extra key\"
",
    group: Some(Group::KeyValue),
    flags: &[Flag::new("interactive", Kind::Bool, "ask for each part").short('i')],
    run: Some(run),
    ..Spec::EMPTY
};

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        if !call.arguments().is_empty() {
            return Err(Failure::bad_args("txn command does not accept argument"));
        }
        let (client, printer) = call.connect().await?;
        let ask = |question: &str| match call.flag("interactive") {
            true => output::write(format!("{question}\n")),
            false => Ok(()),
        };
        ask("compares:")?;
        let mut conditions = Vec::new();
        while let Some(line) = line()? {
            conditions.push(compare(&line)?);
        }
        ask("success requests (get, put, del):")?;
        let success = operations().await?;
        ask("failure requests (get, put, del):")?;
        let failure = operations().await?;
        let response = client.raw().call(&TxnRequest { compare: conditions, success, failure }).await?;
        printer.print(&Answer::Txn(response))
    })
}

fn invalid(message: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::InvalidInput, message)
}

/// The next line; nothing for an empty one, which ends a part.
fn line() -> Result<Option<String>, Failure> {
    let mut line = Vec::new();
    std::io::stdin().lock().read_until(b'\n', &mut line).map_err(invalid)?;
    if line.pop() != Some(b'\n') {
        return Err(invalid("EOF"));
    }
    let line = String::from_utf8(line).map_err(|_| invalid("a line is not UTF-8"))?;
    let line = line.trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}

/// The condition of a line such as `mod("key") > "5"`.
fn compare(line: &str) -> Result<Compare, Failure> {
    let Some((target, rest)) = line.split_once('(') else {
        return Err(invalid(format!("malformed comparison: {line}")));
    };
    let Operands { key, operator, operand } = operands(rest);
    let Some(operand) = operand else {
        let got = format!("{target}({}) {operator} \"\"", quote(&key));
        return Err(invalid(format!("malformed comparison: {line}; got {got}")));
    };
    let result = match operator {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        _ => return Err(invalid(format!("malformed comparison: {line} (unknown operator {operator})"))),
    };
    let number = |radix| {
        let text = String::from_utf8_lossy(&operand);
        number::parse_int(&text, radix).map_err(|_| invalid(format!("invalid txn compare request: {line}")))
    };
    let (target, value) = match target {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(operand.into())),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        _ => return Err(invalid(format!("malformed comparison: {line} (unknown target {target})"))),
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(value),
        ..Default::default()
    })
}

/// What follows the parenthesis, as far as it was understood.
#[derive(Default)]
struct Operands<'a> {
    key: Vec<u8>,
    operator: &'a str,
    operand: Option<Vec<u8>>,
}

/// Understands `"key") > "5"`. The operator is a word of its own.
fn operands(text: &str) -> Operands<'_> {
    let Some((key, rest)) = unquote_head(text.trim_start()) else { return Operands::default() };
    let Some(rest) = rest.strip_prefix(") ") else { return Operands { key, ..Operands::default() } };
    let rest = rest.trim_start();
    let (operator, rest) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
    let operand = unquote_head(rest.trim_start()).map(|(operand, _)| operand);
    Operands { key, operator, operand }
}

async fn operations() -> Result<Vec<RequestOp>, Failure> {
    let mut operations = Vec::new();
    while let Some(line) = line()? {
        operations.push(RequestOp { request: Some(operation(&line).await?) });
    }
    Ok(operations)
}

/// The operation of a line such as `put key value`.
async fn operation(line: &str) -> Result<Request, Failure> {
    let words = words(line)?;
    if words.len() < 2 {
        return Err(invalid(format!("invalid txn compare request: {line}")));
    }
    let name = words[0].to_string_lossy().into_owned();
    let known = [&put::SPEC, &get::SPEC, &del::SPEC].into_iter().find(|spec| spec.name() == name);
    let unknown = || invalid(format!("invalid txn request: {line}"));
    let spec = known.ok_or_else(unknown)?;
    let call = spec.parse(words[1..].to_vec(), &[]).map_err(|_| unknown())?;
    match name.as_str() {
        "put" => put::request(&call, put::Unnamed::Missing).map(Request::RequestPut),
        "get" => get::request(&call).map(Request::RequestRange),
        _ => del::request(&call).await.map(Request::RequestDeleteRange),
    }
}

/// The words of a line: `"double quoted"` with escapes, `'single quoted'` without, or up to the next space.
///
/// # Errors
/// A bad escape.
pub fn words(line: &str) -> Result<Vec<OsString>, Failure> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if first == '"'
            && let Some(end) = closing_quote(rest)
        {
            let quoted = &rest[..end];
            let (word, _) = unquote_head(quoted).ok_or_else(|| invalid(format!("bad escape in {quoted}")))?;
            words.push(OsString::from_vec(word));
            rest = &rest[end..];
        } else if first == '\''
            && let Some(end) = rest[1..].find('\'')
        {
            words.push(OsString::from(&rest[1..=end]));
            rest = &rest[end + 2..];
        } else if first == '"' || first == '\'' {
            // A quote that nothing closes is no part of a word.
            rest = &rest[1..];
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(OsString::from(&rest[..end]));
            rest = &rest[end..];
        }
    }
    Ok(words)
}

/// Where the string that begins with a double quote ends.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<String> {
        let words = words(line).expect("no bad escape");
        words.into_iter().map(|word| word.into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn words_of_a_line() {
        assert_eq!(split("put a b"), ["put", "a", "b"]);
        assert_eq!(split(r#"put "a b" 'c "d"'"#), ["put", "a b", "c \"d\""]);
        assert_eq!(split(r#"put "a\tb" "\x41\"""#), ["put", "a\tb", "A\""]);
        assert_eq!(split("  put\ta  "), ["put", "a"]);
        assert_eq!(split("put a\"b c'd"), ["put", "a\"b", "c'd"]);
        assert_eq!(split("put \"\" ''"), ["put", "", ""]);
        assert!(words(r#"put "\q""#).is_err());
    }

    #[test]
    fn conditions() {
        let parsed = compare(r#"lease("k") != "1f""#).expect("a condition");
        assert_eq!(parsed.target_union, Some(TargetUnion::Lease(0x1f)));
        assert_eq!(parsed.result(), CompareResult::NotEqual);
        let rows = [
            ("foo", "malformed comparison: foo"),
            (r#"value("a")="b""#, r#"malformed comparison: value("a")="b"; got value("a")  """#),
            (r#"value(a) = "b""#, r#"malformed comparison: value(a) = "b"; got value("")  """#),
            (r#"value("a") = b"#, r#"malformed comparison: value("a") = b; got value("a") = """#),
            (r#"foo("a") = "b""#, r#"malformed comparison: foo("a") = "b" (unknown target foo)"#),
            (r#"ver("a") = "x""#, r#"invalid txn compare request: ver("a") = "x""#),
            (r#"ver("a") ~ "1""#, r#"malformed comparison: ver("a") ~ "1" (unknown operator ~)"#),
        ];
        for (line, message) in rows {
            let failure = compare(line).expect_err(line);
            assert_eq!((failure.exit(), failure.message()), (Exit::InvalidInput, message));
        }
    }
}
