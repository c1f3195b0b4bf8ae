//! `put`: writes a key.

use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::Failure,
    go::number,
    output::Answer,
};
use std::io::{self, Read};
use tenure_client::raw::etcdserverpb::PutRequest;

/// `put`.
pub static SPEC: Spec = Spec {
    words: "put [options] <key> <value> (<value> can also be given from stdin)",
    about: "Writes a key",
    long: "Writes a key.

A value that begins with '-' would be taken for a flag. Everything after '--' is not:

$ put <key> -- <value>
$ put -- <key> <value>

A value that is not given is read from standard input, unless '--ignore-value' keeps the one that is there:

$ cat file | put <key>",
    group: Some(Group::KeyValue),
    flags: &[
        Flag::new("lease", Kind::Text, "attach the key to the lease of this id (hexadecimal)").default("0"),
        Flag::new("prev-kv", Kind::Bool, "answer the pair before"),
        Flag::new("ignore-value", Kind::Bool, "keep the value that is there"),
        Flag::new("ignore-lease", Kind::Bool, "keep the lease that is there"),
    ],
    run: Some(run),
    ..Spec::EMPTY
};

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let request = request(call, Unnamed::FromInput)?;
        let (client, printer) = call.connect().await?;
        printer.print(&Answer::Put(client.raw().call(&request).await?))
    })
}

/// Where a value comes from that the words do not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// Standard input.
    FromInput,
    /// Nowhere: standard input has other things to say.
    Missing,
}

/// What the words ask for.
///
/// # Errors
/// They contradict each other, or there is no value.
pub fn request(call: &Call, unnamed: Unnamed) -> Result<PutRequest, Failure> {
    let no_value = || Failure::bad_args("put command needs 1 argument and input from stdin or 2 arguments");
    let mut arguments = call.arguments().into_iter();
    let key = arguments.next().ok_or_else(no_value)?;
    let given = arguments.next();
    let ignore_value = call.flag("ignore-value");
    if ignore_value && given.is_some() {
        let message = "put command needs only 1 argument when 'ignore-value' is set";
        return Err(Failure::bad_args(message));
    }
    let value = match given {
        Some(value) => value,
        None if ignore_value => Vec::new(),
        None if unnamed == Unnamed::Missing => return Err(no_value()),
        None => {
            let mut value = Vec::new();
            io::stdin().read_to_end(&mut value).map_err(|_| no_value())?;
            if value.is_empty() {
                return Err(no_value());
            }
            value
        }
    };
    let lease = number::parse_int(&call.text("lease"), 16)
        .map_err(|reason| Failure::bad_args(format!("bad lease ID ({reason}), expecting ID in Hex")))?;
    Ok(PutRequest {
        key: key.into(),
        value: value.into(),
        lease,
        prev_kv: call.flag("prev-kv"),
        ignore_value,
        ignore_lease: call.flag("ignore-lease"),
    })
}
