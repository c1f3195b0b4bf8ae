//! Writes, appends to and prints write-ahead logs from a plain text; `interop/wal` has the same program over etcd's Go package.
//!
//! ```text
//! wal spec SEED BATCHES SEGMENT_BYTES   prints a text for `write` that fills about three segments
//! wal write DIR SEGMENT_BYTES < text    begins a log
//! wal append DIR SEGMENT_BYTES < text   writes on
//! wal repair DIR                        opens for writing, which cuts off a torn end
//! wal release DIR INDEX                 deletes the segments behind an index
//! wal dump DIR [INDEX]                  prints what is behind an index
//! ```

use std::io::{self, BufRead};
use std::path::Path;
use std::sync::Arc;
use tenure_core::types::{ClusterId, ConfState, EntryKind, HardState, LogEntry, LogIndex, MemberId, Term};
use tenure_storage::disk::OsDisk;
use tenure_storage::wal::{self, Metadata, Wal, WalOptions};

type Failure = Box<dyn std::error::Error>;

const KINDS: [(&str, EntryKind); 3] =
    [("0", EntryKind::Normal), ("1", EntryKind::ConfChange), ("2", EntryKind::ConfChangeV2)];

fn unhex(text: &str) -> Result<Vec<u8>, Failure> {
    let text = text.strip_prefix('-').unwrap_or(text);
    (0..text.len()).step_by(2).map(|at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?)).collect()
}

/// What a text says that has not been saved yet.
#[derive(Default)]
struct Batch {
    entries: Vec<LogEntry>,
    state: Option<HardState>,
}

impl Batch {
    /// Carries out one line on a log.
    fn line(&mut self, wal: &mut Wal, line: &str) -> Result<(), Failure> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| -> Result<u64, Failure> { Ok(words.get(at).ok_or("too short")?.parse()?) };
        match words[0] {
            "metadata" => {}
            "entry" => {
                let kind = KINDS.iter().find(|(name, _)| *name == words[3]).ok_or("no such type")?.1;
                let data = unhex(words[4])?.into();
                self.entries.push(LogEntry {
                    index: LogIndex(number(1)?),
                    term: Term(number(2)?),
                    kind,
                    data,
                });
            }
            "state" => {
                let vote = Some(MemberId(number(2)?)).filter(|vote| vote.0 != 0);
                self.state = Some(HardState { term: Term(number(1)?), vote, commit: LogIndex(number(3)?) });
            }
            "save" => {
                wal.save(self.state.take(), &self.entries, true)?;
                self.entries.clear();
            }
            "snapshot" => {
                let conf = ConfState { voters: vec![MemberId(number(3)?)], ..ConfState::default() };
                wal.save_snapshot(LogIndex(number(1)?), Term(number(2)?), &conf)?;
            }
            _ => return Err(format!("not understood: {line}").into()),
        }
        Ok(())
    }
}

fn metadata(line: &str) -> Result<Metadata, Failure> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["metadata", member, cluster] => {
            Ok(Metadata { member: MemberId(member.parse()?), cluster: ClusterId(cluster.parse()?) })
        }
        _ => Err("the first line is not `metadata MEMBER CLUSTER`".into()),
    }
}

fn disk(dir: &str) -> Arc<OsDisk> {
    Arc::new(OsDisk::new(dir))
}

fn write(dir: &str, segment_bytes: u64, create: bool) -> Result<(), Failure> {
    let lines: Vec<String> = io::stdin().lock().lines().collect::<Result<_, _>>()?;
    let options = WalOptions { segment_bytes };
    let mut wal = if create {
        let metadata = metadata(lines.first().ok_or("no text")?)?;
        Wal::create(disk("."), dir, metadata, options)?
    } else {
        Wal::open(disk("."), dir, newest_snapshot(dir)?, options)?.0
    };
    let mut batch = Batch::default();
    lines.iter().try_for_each(|line| batch.line(&mut wal, line))
}

/// From where a log can be read that has lost its first segments.
fn newest_snapshot(dir: &str) -> Result<LogIndex, Failure> {
    let mut first = LogIndex(0);
    for name in std::fs::read_dir(dir)? {
        let name = name?.file_name().into_string().unwrap_or_default();
        if let Some((sequence, index)) = name.strip_suffix(".wal").and_then(|name| name.split_once('-')) {
            if sequence == "0000000000000000" {
                return Ok(LogIndex(0));
            }
            first = first.max(LogIndex(u64::from_str_radix(index, 16)?));
        }
    }
    Ok(first)
}

fn dump(dir: &str, after: LogIndex) -> Result<(), Failure> {
    let replay = wal::read(&*disk("."), Path::new(dir), after)?;
    println!("metadata {} {}", replay.metadata.member, replay.metadata.cluster);
    let HardState { term, vote, commit } = replay.hard_state;
    println!("state {term} {} {commit}", vote.map_or(0, |vote| vote.0));
    for snapshot in replay.snapshots.iter().filter(|snapshot| snapshot.index >= after) {
        let voters = snapshot.conf_state.as_ref().map_or(&[][..], |conf| &conf.voters);
        let voters: Vec<String> = voters.iter().map(|voter| voter.to_string()).collect();
        println!("snapshot {} {} [{}]", snapshot.index, snapshot.term, voters.join(" "));
    }
    for LogEntry { index, term, kind, data } in &replay.entries {
        let kind = KINDS.iter().find(|(_, known)| known == kind).map_or("?", |(name, _)| name);
        println!("entry {index} {term} {kind} {} {:08x}", data.len(), crc32c::crc32c(data));
    }
    Ok(())
}

/// A text of `batches` saves whose entries fill about three segments, with terms that change, ends that are written again
/// and snapshots in between.
fn spec(seed: u64, batches: u64, segment_bytes: u64) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.wrapping_mul(0x2545_f491_4f6c_dd1d) % below.max(1)
    };
    let (member, mut term, mut last, mut commit, mut terms) = (0x8e9e_05c5_2164_694d_u64, 1, 0, 0, vec![0]);
    println!("metadata {member} {}", 0xcdf8_1818_e32b_ad4e_u64);
    for batch in 0..batches {
        if draw(5) == 0 {
            term += 1 + draw(3);
            last -= draw(last - commit + 1);
        }
        terms.truncate(last as usize + 1);
        for _ in 0..draw(4) {
            last += 1;
            terms.push(term);
            let len = if draw(6) == 0 { 0 } else { draw(6 * segment_bytes / batches) };
            let kind = if batch == 0 && len > 0 { 1 } else { 0 };
            let data: String = (0..len).map(|_| format!("{:02x}", draw(256))).collect();
            println!("entry {last} {term} {kind} -{data}");
        }
        commit += draw(last - commit + 1);
        println!("state {term} {member} {commit}\nsave");
        if draw(4) == 0 {
            println!("snapshot {commit} {} {member}", terms[commit as usize]);
        }
    }
}

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["spec", seed, batches, segment_bytes] => {
            spec(seed.parse()?, batches.parse()?, segment_bytes.parse()?);
            Ok(())
        }
        ["write", dir, segment_bytes] => write(dir, segment_bytes.parse()?, true),
        ["append", dir, segment_bytes] => write(dir, segment_bytes.parse()?, false),
        ["repair", dir] => {
            let (_, replay) = Wal::open(disk("."), dir, newest_snapshot(dir)?, WalOptions::default())?;
            println!("{}", if replay.repair.is_some() { "repaired" } else { "whole" });
            Ok(())
        }
        ["release", dir, index] => {
            let index = LogIndex(index.parse()?);
            let (mut wal, _) = Wal::open(disk("."), dir, index, WalOptions { segment_bytes: 0 })?;
            println!("{}", wal.release_to(index)?);
            Ok(())
        }
        ["dump", dir] => dump(dir, LogIndex(0)),
        ["dump", dir, index] => dump(dir, LogIndex(index.parse()?)),
        _ => Err("see the head of examples/wal.rs".into()),
    }
}
