//! Takes out of a command's output what differs from run to run.

use crate::rpc::Identity;
use regex::Regex;
use std::sync::LazyLock;

/// What is known of the run.
#[derive(Clone, Debug, Default)]
pub struct Volatile {
    /// The answering member.
    pub identity: Identity,
    /// `127.0.0.1:PORT` for clients and for peers.
    pub addresses: [String; 2],
    /// The directory of the script's files.
    pub directory: String,
    /// Ids of leases in the order of their first appearance.
    pub leases: Vec<i64>,
    /// Ids of members that were added, in their order.
    pub added: Vec<u64>,
    /// The ids of the other members, and their addresses for clients and for peers.
    pub others: Vec<(u64, [String; 2])>,
    /// `127.0.0.1:PORT` for clients with TLS.
    pub tls: Option<String>,
}

macro_rules! pattern {
    ($text:literal) => {{
        static PATTERN: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($text).expect("a constant pattern compiles"));
        &*PATTERN
    }};
}

impl Volatile {
    /// Remembers the lease ids that an output announces.
    pub fn learn(&mut self, line: &str) {
        for found in pattern!(r"lease ([0-9a-f]{14,16}) granted with TTL\(\d+s\)$").captures_iter(line) {
            self.learn_lease(i64::from_str_radix(&found[1], 16).unwrap_or_default());
        }
        for found in pattern!(r#""ID":(-?\d{14,19}),"TTL""#).captures_iter(line) {
            self.learn_lease(found[1].parse().unwrap_or_default());
        }
        for found in pattern!(r"^Member +([0-9a-f]+) added ").captures_iter(line) {
            self.added.extend(u64::from_str_radix(&found[1], 16));
        }
        for found in pattern!(r#""member":\{"ID":(\d+)"#).captures_iter(line) {
            self.added.extend(found[1].parse::<u64>());
        }
    }

    /// Remembers a lease id.
    pub fn learn_lease(&mut self, id: i64) {
        // Small ids are chosen by scripts and stay as they are.
        if !(-0xffff_ffff..=0xffff_ffff).contains(&id) && !self.leases.contains(&id) {
            self.leases.push(id);
        }
    }

    /// The line as a script expects it.
    #[must_use]
    pub fn line(&self, line: &str) -> String {
        let mut line = line.trim_end().to_owned();
        let Identity { cluster, member, .. } = self.identity;
        let mut names = vec![
            (format!("http://{}", self.addresses[0]), "<client-url>".to_owned()),
            (format!("http://{}", self.addresses[1]), "<peer-url>".to_owned()),
            (self.addresses[0].clone(), "<client>".to_owned()),
            (self.directory.clone(), "<dir>".to_owned()),
        ];
        for (id, name) in [(member, "<member>"), (cluster, "<cluster>")] {
            names.extend([(format!("{id:x}"), name.to_owned()), (id.to_string(), name.to_owned())]);
        }
        for (number, (id, [client, peer])) in self.others.iter().enumerate() {
            let number = number + 2;
            names.push((format!("http://{client}"), format!("<client-url-{number}>")));
            names.push((format!("http://{peer}"), format!("<peer-url-{number}>")));
            names.push((client.clone(), format!("<client-{number}>")));
            let name = format!("<member-{number}>");
            names.extend([(format!("{id:x}"), name.clone()), (id.to_string(), name)]);
        }
        names.extend(self.tls.iter().map(|tls| (tls.clone(), "<tls>".to_owned())));
        for (number, id) in self.added.iter().enumerate() {
            let name = format!("<added-{}>", number + 1);
            names.extend([(format!("{id:16x}"), name.clone()), (format!("{id:x}"), name.clone())]);
            names.push((id.to_string(), name));
        }
        for (number, id) in self.leases.iter().enumerate() {
            let name = format!("<lease-{}>", number + 1);
            names.extend([(format!("{id:016x}"), name.clone()), (id.to_string(), name.clone())]);
            names.push((format!("{id:x}"), name));
        }
        for (volatile, name) in names.iter().filter(|(volatile, _)| volatile.len() > 4) {
            line = line.replace(volatile, name);
        }
        if line.starts_with("Member ") {
            // Ids of fewer digits than most are padded.
            line = pattern!(r" {2,}").replace_all(&line, " ").into_owned();
        }
        line = pattern!(r#"("raft_?[tT]erm"|"RaftTerm")( ?: ?)\d+"#)
            .replace_all(&line, "$1$2<term>")
            .into_owned();
        line = pattern!(r#"([Tt]ook)(":"|" : | = |:| )[0-9.]+(ns|µs|ms|s)"#)
            .replace_all(&line, "$1$2<time>")
            .into_owned();
        line = pattern!(r"remaining\(\d+s\)").replace_all(&line, "remaining(<time>)").into_owned();
        line = pattern!(r"/[0-9a-f]{14,16}\b").replace_all(&line, "/<lease>").into_owned();
        // An alarm in Go's text form of a message: one blank or two, by a hash of the program that prints it.
        line = pattern!(r"(memberID:\S+)  (alarm:)").replace_all(&line, "$1 $2").into_owned();
        if let Some(found) = pattern!(r"attached keys\(\[(.*)\]\)").captures(&line) {
            // They come in no order.
            let mut keys: Vec<&str> = found[1].split(' ').collect();
            keys.sort_unstable();
            line = line.replace(&found[0], &format!("attached keys([{}])", keys.join(" ")));
        }
        table_row(&line)
    }

    /// A field of an answer, of which some say how much time is left or how much Raft has done.
    #[must_use]
    pub fn message_line(&self, kind: &str, line: &str) -> String {
        let line = self.line(line);
        match kind {
            "LeaseTimeToLiveResponse" => pattern!(r"^TTL: \d+$").replace(&line, "TTL: <time>").into_owned(),
            "StatusResponse" => pattern!(r"^(dbSize|dbSizeInUse|raftIndex|raftTerm|raftAppliedIndex): \d+$")
                .replace(&line, "$1: <n>")
                .into_owned(),
            _ => line,
        }
    }

    /// A line of `endpoint status`, in which sizes, versions and Raft's numbers differ too.
    #[must_use]
    pub fn status_line(&self, line: &str) -> String {
        let line = self.line(line);
        if line.starts_with(['|', '│']) || line.contains(", ") && !line.starts_with('[') {
            return status_columns(&line);
        }
        let line = pattern!(r#""(dbSize|dbSizeInUse|raftIndex|raftAppliedIndex)":\d+"#)
            .replace_all(&line, "\"$1\":<n>");
        let line = pattern!(r#""([sS]torageVersion)"( ?: ?)"[0-9.]*""#)
            .replace_all(&line, "\"$1\"$2\"<storage-version>\"");
        let line =
            pattern!(r#""(DBSize|DBSizeInUse|DBSizeQuota|RaftIndex|RaftTerm|RaftAppliedIndex)" : \d+"#)
                .replace_all(&line, "\"$1\" : <n>");
        pattern!(r#""([vV]ersion)"( ?: ?)"[0-9.]+""#).replace_all(&line, "\"$1\"$2\"<version>\"").into_owned()
    }

    /// A line of `snapshot status` or of a restore, in which hashes, sizes and counts differ.
    #[must_use]
    pub fn snapshot_line(&self, line: &str) -> String {
        let line = self.line(line);
        let line = pattern!(r#""(hash|totalSize|totalKey)":\d+"#).replace_all(&line, "\"$1\":<n>");
        let line = pattern!(r#""(Hash|Size|Keys)" : \d+"#).replace_all(&line, "\"$1\" : <n>");
        pattern!(r"^(\| )?[0-9a-f]{1,8}( \||,) (\d+)( \||,) \d+( \||,) [0-9.]+ [kMG]?B( \|)?$")
            .replace(&line, "$1<hash>$2 $3$4 <n>$5 <size>$6")
            .into_owned()
    }
}

/// Cells of a table without the padding, which follows from the volatile parts. Tables are drawn with ASCII before etcdctl
/// 3.7.
fn table_row(line: &str) -> String {
    if line.starts_with('+') && line.ends_with('+') && line.contains("--") {
        return "+--+".to_owned();
    }
    if let (Some(first @ ('┌' | '├' | '└')), Some(last)) = (line.chars().next(), line.chars().last()) {
        return format!("{first}──{last}");
    }
    for bar in ['|', '│'] {
        let cells = line.strip_prefix(bar).and_then(|rest| rest.strip_suffix(bar));
        if let Some(cells) = cells {
            let cells: Vec<&str> = cells.split(bar).map(str::trim).collect();
            return format!("{bar} {} {bar}", cells.join(&format!(" {bar} ")));
        }
    }
    line.to_owned()
}

/// The columns of `endpoint status` before etcdctl 3.6, and since.
const STATUS_COLUMNS: [&[(usize, &str)]; 2] = [
    &[(2, "<version>"), (3, "<size>"), (6, "<term>"), (7, "<index>"), (8, "<index>")],
    &[
        (2, "<version>"),
        (3, "<storage-version>"),
        (4, "<size>"),
        (5, "<size>"),
        (6, "<percent>"),
        (7, "<size>"),
        (10, "<term>"),
        (11, "<index>"),
        (12, "<index>"),
    ],
];

fn status_columns(line: &str) -> String {
    let bar = line.chars().next().filter(|c| ['|', '│'].contains(c));
    let separator = bar.map_or_else(|| ", ".to_owned(), |bar| format!(" {bar} "));
    let edge = bar.map(|bar| format!("{bar} ")).unwrap_or_default();
    let cells = line.strip_prefix(&edge).unwrap_or(line);
    let end = bar.map(|bar| format!(" {bar}")).unwrap_or_default();
    let cells = cells.strip_suffix(&end).unwrap_or(cells);
    let mut columns: Vec<&str> = cells.split(&separator).collect();
    if columns.len() >= 9 && columns[2].starts_with(|c: char| c.is_ascii_digit()) {
        let names = STATUS_COLUMNS[usize::from(columns.len() >= 15)];
        names.iter().for_each(|(column, name)| columns[*column] = name);
    }
    format!("{edge}{}{end}", columns.join(&separator))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volatile() -> Volatile {
        Volatile {
            identity: Identity { cluster: 0xcdf8_1818_1818, member: 0x8e9e_05c5_2164_694d, term: 2 },
            addresses: ["127.0.0.1:4001".to_owned(), "127.0.0.1:4002".to_owned()],
            directory: "/tmp/x1".to_owned(),
            leases: vec![0x694d_7d3e_1f2a_0001],
            ..Volatile::default()
        }
    }

    #[test]
    fn ids_addresses_and_times_are_named() {
        let volatile = volatile();
        assert_eq!(volatile.line("8e9e05c52164694d, http://127.0.0.1:4001"), "<member>, <client-url>");
        assert_eq!(
            volatile.line("127.0.0.1:4001 is healthy: took = 1.2ms"),
            "<client> is healthy: took = <time>"
        );
        let json = format!(r#"{{"raft_term":2,"lease":{}}}"#, volatile.leases[0]);
        assert_eq!(volatile.line(&json), r#"{"raft_term":<term>,"lease":<lease-1>}"#);
        assert_eq!(volatile.line("l/694d7d3e1f2a0009"), "l/<lease>");
        let removed = "Member 8e9e05c52164694d removed from cluster     cdf818181818";
        assert_eq!(volatile.line(removed), "Member <member> removed from cluster <cluster>");
    }

    #[test]
    fn a_lease_is_learned_from_its_grant() {
        let mut volatile = volatile();
        volatile.learn("lease 694d7d3e1f2a0002 granted with TTL(60s)");
        volatile.learn_lease(7);
        assert_eq!(volatile.leases.len(), 2);
        assert_eq!(volatile.line("lease 694d7d3e1f2a0002 revoked"), "lease <lease-2> revoked");
    }

    #[test]
    fn status_columns_are_named_and_tables_lose_their_padding() {
        let volatile = volatile();
        let simple = "127.0.0.1:4001, 8e9e05c52164694d, 3.5.1, 20 kB, true, false, 2, 4, 4, ";
        let named = "<client>, <member>, <version>, <size>, true, false, <term>, <index>, <index>";
        assert_eq!(volatile.status_line(simple), named);
        let row =
            "| 127.0.0.1:4001 | 8e9e05c52164694d |  3.5.1 |  20 kB |  true | false |  2 |  4 |  4 |        |";
        let named =
            "| <client> | <member> | <version> | <size> | true | false | <term> | <index> | <index> |  |";
        assert_eq!(volatile.status_line(row), named);
        assert_eq!(volatile.status_line("+-----+---+"), "+--+");
    }

    #[test]
    fn snapshot_figures_are_named() {
        assert_eq!(volatile().snapshot_line("1a2b3c, 5, 12, 20 kB"), "<hash>, 5, <n>, <size>");
        assert_eq!(
            volatile().snapshot_line("| 1a2b3c |   5 | 12 | 20 kB |"),
            "| <hash> | 5 | <n> | <size> |"
        );
    }
}
