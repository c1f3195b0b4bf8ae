//! The bytes of a small log, as a script, and bytes that etcd wrote.

use super::*;
use std::error::Error;
use std::fmt::Write;

/// `create`, `save`, `snapshot`, `cut`, `dump`, `read`.
struct Runner {
    disk: MemoryDisk,
    wal: Option<Wal>,
}

#[derive(goldenscript::Command)]
enum Command {
    /// Begins a log.
    Create {
        #[arg(key)]
        member: u64,
        #[arg(key)]
        cluster: u64,
    },
    /// Saves entries, `index:data` or `index!data` for a configuration change, all of one term, and a hard state.
    Save {
        #[arg(key)]
        term: u64,
        #[arg(key)]
        vote: Option<u64>,
        #[arg(key)]
        commit: Option<u64>,
        entries: Vec<String>,
    },
    /// Notes a snapshot.
    Snapshot {
        #[arg(key)]
        index: u64,
        #[arg(key)]
        term: u64,
        #[arg(key)]
        voter: u64,
    },
    /// Begins the next segment.
    Cut,
    /// Every segment, the unused rest left out.
    Dump,
    /// Writes the segment of these bytes instead of all that is there.
    Bytes(Vec<String>),
    /// What a reader finds.
    Read {
        #[arg(key)]
        after: Option<u64>,
    },
}

fn entry(text: &str, term: u64) -> Result<LogEntry, Box<dyn Error>> {
    let (at, kind) = match (text.find(':'), text.find('!')) {
        (Some(at), _) => (at, EntryKind::Normal),
        (None, Some(at)) => (at, EntryKind::ConfChange),
        _ => return Err("index:data or index!data".into()),
    };
    let data = Bytes::copy_from_slice(&text.as_bytes()[at + 1..]);
    Ok(LogEntry { index: LogIndex(text[..at].parse()?), term: Term(term), kind, data })
}

fn hex(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| (at + 1).next_multiple_of(8));
    let mut out = String::new();
    for (line, chunk) in bytes[..end.min(bytes.len())].chunks(16).enumerate() {
        let text: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(out, "{:04x}  {}", line * 16, text.join(" ")).expect("a string takes everything");
    }
    out
}

impl goldenscript::Runner for Runner {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &goldenscript::Context) -> Result<String, Box<dyn Error>> {
        let mut out = String::new();
        match command {
            Command::Create { member, cluster } => {
                let metadata = Metadata { member: MemberId(*member), cluster: ClusterId(*cluster) };
                self.wal = Some(Wal::create(Arc::new(self.disk.clone()), dir(), metadata, SMALL)?);
            }
            Command::Save { term, vote, commit, entries } => {
                let entries: Result<Vec<_>, _> = entries.iter().map(|text| entry(text, *term)).collect();
                let state = commit.map(|commit| HardState {
                    term: Term(*term),
                    vote: vote.map(MemberId),
                    commit: LogIndex(commit),
                });
                self.wal.as_mut().ok_or("no log")?.save(state, &entries?, true)?;
            }
            Command::Snapshot { index, term, voter } => {
                let conf = ConfState { voters: vec![MemberId(*voter)], ..ConfState::default() };
                self.wal.as_mut().ok_or("no log")?.save_snapshot(LogIndex(*index), Term(*term), &conf)?;
            }
            Command::Cut => self.wal.as_mut().ok_or("no log")?.cut()?,
            Command::Dump => {
                for name in self.disk.list(dir())? {
                    write!(out, "{name}\n{}", hex(&content(&self.disk, &name)))?;
                }
            }
            Command::Bytes(bytes) => {
                let bytes: Result<Vec<u8>, _> =
                    bytes.iter().map(|text| u8::from_str_radix(text, 16)).collect();
                self.wal = None;
                self.disk = MemoryDisk::new();
                self.disk.create_dir_all(dir())?;
                put_content(&self.disk, &segment::segment_name(0, LogIndex(0)), &bytes?);
            }
            Command::Read { after } => {
                let replay = read(&self.disk, dir(), LogIndex(after.unwrap_or(0)))?;
                let Replay { metadata, hard_state: state, snapshots, entries, last_index, repair } = replay;
                writeln!(out, "member {} cluster {}", metadata.member, metadata.cluster)?;
                let vote = state.vote.map_or("nobody".into(), |vote| vote.to_string());
                writeln!(out, "term {} vote {vote} commit {}", state.term, state.commit)?;
                for SnapshotRecord { index, term, conf_state } in snapshots {
                    let voters = conf_state.map_or("unknown".into(), |conf| format!("{:?}", conf.voters));
                    writeln!(out, "snapshot index {index} term {term} voters {voters}")?;
                }
                for LogEntry { index, term, kind, data } in entries {
                    writeln!(out, "entry {index} term {term} {kind:?} \"{}\"", data.escape_ascii())?;
                }
                writeln!(out, "last index {last_index}, repair {repair:?}")?;
            }
        }
        Ok(out)
    }
}

fn run(script: &str) {
    let mut runner = Runner { disk: MemoryDisk::new(), wal: None };
    goldenscript::run(&mut runner, format!("testscripts/wal/{script}")).unwrap();
}

#[test]
fn bytes_of_a_log() {
    run("bytes");
}

#[test]
fn logs_that_etcd_wrote() {
    run("etcd");
}
