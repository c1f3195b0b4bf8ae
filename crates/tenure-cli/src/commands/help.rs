//! `help`: shows how a command is used.

use super::{ROOT, lossy};
use crate::{
    command_line::{Call, Group, Pending, Spec},
    help, output,
};

/// `help`.
pub static SPEC: Spec = Spec {
    words: "help [command]",
    about: "Shows how a command is used",
    group: Some(Group::Utility),
    run: Some(run),
    ..Spec::EMPTY
};

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let words: Vec<String> = call.arguments().iter().map(|word| lossy(word)).collect();
        let mut path: Vec<&'static Spec> = vec![&ROOT];
        for word in &words {
            match path[path.len() - 1].find(word) {
                Some(spec) => path.push(spec),
                // What follows a command may be its argument.
                None if path.len() > 1 => break,
                None => {
                    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                    eprint!("Unknown help topic [{}]\n{}", words.join(" "), help::usage(&path[..1]));
                    return Ok(());
                }
            }
        }
        output::write(help::text(&path))
    })
}
