//! Golden end-to-end scripts: commands with what they print, the same for every server.
//!
//! ```text
//! # P4: the first put makes revision 2.            a comment
//! #! flags --max-txn-ops=4                         flags for the server
//! #! flags-on tenured --log-level=debug            flags for one of them
//! #! only etcd-3.5, tenured: 3.4 has no RPC for it
//! #! members 3                                 a cluster; `{client}` is the first's, `{client-2}` another's
//! #! tls --client-cert-auth                    listens with TLS too, at `{tls}`, with these flags more
//!
//! $ grpc KV/Put key: "a"                           a command
//! + value: "1"                                     more of it
//! < and this                                       a line of its standard input
//!   header { revision: 2 }                         what it prints
//! [etcd-3.4] differs: the reason                   another output, with its reason
//!   header { revision: 1 }
//! ```
//!
//! A condition is a server (`etcd-3.4`, `etcd-3.5`, `etcd-3.7`, `tenured`), a client (`ctl-3.4`, `ctl-3.5`, `ctl-3.7`,
//! `tenurectl`), or several joined by `+` when all must hold; conditions are separated by commas. `tenurectl` is a `ctl-3.7`
//! too: it prints what that prints. The variant with the longest condition that holds is the expected one, the last of several;
//! without any it is the plain output: what etcd 3.7.1 answers, as the etcdctl of [`Options::plain`] prints it.

mod normalise;
mod run;
mod servers;

pub use run::{Options, Outcome, run_directory, run_file};

use anyhow::{Context, Result, bail};
use std::fmt::Write;

/// A script as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    /// A comment or an empty line, as it is.
    Text(String),
    Block(Block),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Block {
    /// The lines of the command, the first without `$ `, the others without `+ `.
    command: Vec<String>,
    input: Vec<String>,
    output: Vec<String>,
    variants: Vec<Variant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Variant {
    conditions: Vec<String>,
    reason: String,
    output: Vec<String>,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// A line that has no meaning where it stands.
    pub fn parse(text: &str) -> Result<Self> {
        let mut items = Vec::new();
        for (number, line) in text.lines().enumerate() {
            parse_line(&mut items, line).with_context(|| format!("line {}: {line}", number + 1))?;
        }
        Ok(Self { items })
    }

    /// Writes it as it was read.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for item in &self.items {
            match item {
                Item::Text(line) => push_line(&mut text, "", line),
                Item::Block(block) => block.render(&mut text),
            }
        }
        text
    }

    /// Flags for a server: everything after `#! flags` and after `#! flags-on SERVER`.
    #[must_use]
    pub fn flags(&self, server: &str) -> Vec<String> {
        let own = self.directives("flags-on").filter_map(|rest| rest.strip_prefix(server)?.strip_prefix(' '));
        self.directives("flags")
            .chain(own)
            .flat_map(|rest| rest.split_whitespace().map(str::to_owned))
            .collect()
    }

    /// How many members the cluster has: what stands after `#! members`.
    ///
    /// # Errors
    /// It is no number.
    pub fn members(&self) -> Result<usize> {
        self.directives("members")
            .next()
            .map_or(Ok(1), |count| count.trim().parse().context(count.to_owned()))
    }

    /// The flags after `#! tls`; nothing without it.
    #[must_use]
    pub fn tls(&self) -> Option<Vec<String>> {
        let flags = self.directives("tls").next()?;
        Some(flags.split_whitespace().map(str::to_owned).collect())
    }

    /// Whether each `#! only` names the server or the client it is run with.
    #[must_use]
    pub fn is_for(&self, facts: &[String]) -> bool {
        self.directives("only").all(|rest| {
            let names = rest.split(':').next().unwrap_or_default();
            names.split(',').any(|name| facts.iter().any(|fact| fact == name.trim()))
        })
    }

    /// Whether a command is one of these programs.
    #[must_use]
    pub fn needs(&self, programs: &[&str]) -> bool {
        self.blocks().any(|block| {
            let mut words = block.command[0].split_whitespace();
            let first = words.next().unwrap_or_default();
            let program = if first == "spawn" { words.nth(1).unwrap_or_default() } else { first };
            programs.contains(&program)
        })
    }

    fn directives<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.items.iter().filter_map(move |item| match item {
            Item::Text(line) => line.strip_prefix("#! ")?.strip_prefix(name)?.strip_prefix(' '),
            Item::Block(_) => None,
        })
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.items.iter().filter_map(|item| match item {
            Item::Block(block) => Some(block),
            Item::Text(_) => None,
        })
    }

    fn blocks_mut(&mut self) -> impl Iterator<Item = &mut Block> {
        self.items.iter_mut().filter_map(|item| match item {
            Item::Block(block) => Some(block),
            Item::Text(_) => None,
        })
    }
}

fn parse_line(items: &mut Vec<Item>, line: &str) -> Result<()> {
    if line.is_empty() || line.starts_with('#') {
        items.push(Item::Text(line.to_owned()));
        return Ok(());
    }
    if let Some(command) = line.strip_prefix("$ ") {
        items.push(Item::Block(Block { command: vec![command.to_owned()], ..Block::default() }));
        return Ok(());
    }
    let Some(Item::Block(block)) = items.last_mut() else { bail!("belongs to no command") };
    if let Some(more) = line.strip_prefix("+ ") {
        block.command.push(more.to_owned());
    } else if let Some(input) = line.strip_prefix('<') {
        block.input.push(input.strip_prefix(' ').unwrap_or(input).to_owned());
    } else if let Some(output) = line.strip_prefix("  ") {
        let output = if output == EMPTY { String::new() } else { output.to_owned() };
        match block.variants.last_mut() {
            Some(variant) => variant.output.push(output),
            None => block.output.push(output),
        }
    } else if let Some((conditions, reason)) =
        line.strip_prefix('[').and_then(|rest| rest.split_once("] differs: "))
    {
        let conditions = conditions.split(',').map(|condition| condition.trim().to_owned()).collect();
        block.variants.push(Variant { conditions, reason: reason.to_owned(), output: Vec::new() });
    } else {
        bail!("neither a comment, a command, its input, its output nor a variant");
    }
    Ok(())
}

/// How an empty line of output is written.
const EMPTY: &str = "¶";

fn push_line(text: &mut String, prefix: &str, line: &str) {
    let line = format!("{prefix}{line}");
    writeln!(text, "{}", line.trim_end()).expect("writing to a string does not fail");
}

fn push_output(text: &mut String, lines: &[String]) {
    for line in lines {
        push_line(text, "  ", if line.is_empty() { EMPTY } else { line });
    }
}

impl Block {
    fn render(&self, text: &mut String) {
        for (number, line) in self.command.iter().enumerate() {
            push_line(text, if number == 0 { "$ " } else { "+ " }, line);
        }
        self.input.iter().for_each(|line| push_line(text, "< ", line));
        push_output(text, &self.output);
        for variant in &self.variants {
            push_line(text, "", &format!("[{}] differs: {}", variant.conditions.join(", "), variant.reason));
            push_output(text, &variant.output);
        }
    }

    /// Whether it prints what a server has counted.
    fn reads_figures(&self) -> bool {
        self.command[0].starts_with("metrics ")
    }

    /// The output that is expected where `facts` hold.
    fn expected(&self, facts: &[String]) -> &[String] {
        self.variants
            .iter()
            .filter_map(|variant| variant.weight(facts).map(|weight| (weight, variant)))
            .max_by_key(|(weight, _)| *weight)
            .map_or(&self.output, |(_, variant)| &variant.output)
    }

    /// Makes `output` the expected one. On a server whose outputs are not the plain ones it becomes a variant, whose
    /// reason somebody has to write.
    fn update(&mut self, facts: &[String], plain: bool, output: Vec<String>) {
        if self.expected(facts) == output {
            return;
        }
        let best = self
            .variants
            .iter_mut()
            .filter_map(|variant| variant.weight(facts).map(|weight| (weight, variant)))
            .max_by_key(|(weight, _)| *weight);
        match best {
            Some((_, variant)) if !plain || variant.conditions.len() == 1 => variant.output = output,
            _ if plain => self.output = output,
            _ => self.variants.push(Variant {
                conditions: vec![facts.join("+")],
                reason: "?".to_owned(),
                output,
            }),
        }
    }
}

impl Variant {
    /// How many facts its best condition names, if it holds.
    fn weight(&self, facts: &[String]) -> Option<usize> {
        let holds =
            |condition: &&String| condition.split('+').all(|fact| facts.iter().any(|known| known == fact));
        self.conditions.iter().filter(holds).map(|condition| condition.split('+').count()).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# a comment
#! flags --max-txn-ops=4 --name=x
#! flags-on tenured --only-here
#! only etcd-3.5, tenured: 3.4 has none

$ grpc KV/Put key: \"a\"
+ value: \"1\"
< in
  out
  ¶
  more
[etcd-3.4, ctl-3.4] differs: older
  old
[etcd-3.4+ctl-3.4] differs: oldest
";

    fn facts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_script_is_written_as_it_was_read() {
        assert_eq!(Script::parse(TEXT).unwrap().render(), TEXT);
    }

    #[test]
    fn the_most_precise_variant_is_expected() {
        let script = Script::parse(TEXT).unwrap();
        let block = script.blocks().next().unwrap();
        assert_eq!(block.expected(&facts(&["etcd-3.5", "ctl-3.5"])), ["out", "", "more"]);
        assert_eq!(block.expected(&facts(&["etcd-3.5", "ctl-3.4"])), ["old"]);
        assert!(block.expected(&facts(&["etcd-3.4", "ctl-3.4"])).is_empty());
    }

    #[test]
    fn directives_are_read() {
        let script = Script::parse(TEXT).unwrap();
        assert_eq!(script.flags("tenured"), ["--max-txn-ops=4", "--name=x", "--only-here"]);
        assert_eq!(script.flags("etcd-3.5"), ["--max-txn-ops=4", "--name=x"]);
        assert!(script.is_for(&facts(&["tenured"])) && !script.is_for(&facts(&["etcd-3.4"])));
        assert!(!script.needs(&["etcdctl"]));
        assert!(Script::parse("$ spawn a etcdctl lock x").unwrap().needs(&["etcdctl"]));
    }

    #[test]
    fn an_update_changes_what_was_expected_and_nothing_else() {
        let mut script = Script::parse(TEXT).unwrap();
        let block = script.blocks_mut().next().unwrap();
        block.update(&facts(&["etcd-3.5", "ctl-3.5"]), true, vec!["new".to_owned()]);
        assert_eq!(block.output, ["new"]);
        block.update(&facts(&["tenured", "ctl-3.5"]), false, vec!["ours".to_owned()]);
        assert_eq!(block.variants[2].conditions, ["tenured+ctl-3.5"]);
        assert_eq!(block.variants[0].output, ["old"]);
    }

    #[test]
    fn output_without_a_command_is_an_error() {
        assert!(Script::parse("  out").is_err());
        assert!(Script::parse("$ a\nwhat").is_err());
    }
}
