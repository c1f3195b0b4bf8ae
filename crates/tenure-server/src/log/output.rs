//! Where lines go.

use super::{InitError, LogConfig, Output, Rotation};
use parking_lot::Mutex;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Takes whole lines. A line that cannot be written is lost: there is nowhere to say so.
pub trait Sink: Send + Sync + 'static {
    /// Takes one line with its line feed.
    fn write_line(&self, line: &[u8]);
}

/// All outputs of a log. One lock keeps the lines in the same order in each.
pub struct Outputs(Mutex<Vec<Open>>);

enum Open {
    Stderr,
    Stdout,
    File(LogFile),
}

impl Outputs {
    /// Opens everything.
    pub fn open(config: &LogConfig) -> Result<Self, InitError> {
        let open = config.outputs.iter().map(|output| match output {
            Output::Stderr => Ok(Open::Stderr),
            Output::Stdout => Ok(Open::Stdout),
            Output::File(path) => LogFile::open(path.clone(), config.rotation)
                .map(Open::File)
                .map_err(|source| InitError::File { path: path.clone(), source }),
        });
        Ok(Self(Mutex::new(open.collect::<Result<_, _>>()?)))
    }
}

impl Sink for Outputs {
    fn write_line(&self, line: &[u8]) {
        for output in self.0.lock().iter_mut() {
            let written = match output {
                Open::Stderr => io::stderr().lock().write_all(line),
                Open::Stdout => io::stdout().lock().write_all(line),
                Open::File(file) => file.write_line(line),
            };
            drop(written);
        }
    }
}

/// A file that is appended to, and replaced when it is full.
struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    rotation: Option<Rotation>,
}

impl LogFile {
    fn open(path: PathBuf, rotation: Option<Rotation>) -> io::Result<Self> {
        if rotation.is_some()
            && let Some(directory) = path.parent()
        {
            fs::create_dir_all(directory)?;
        }
        let file = append_to(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes, rotation })
    }

    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(rotation) = self.rotation
            && self.bytes > 0
            && self.bytes + line.len() as u64 > rotation.file_bytes_max
        {
            self.rotate(rotation)?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Moves the full file aside, begins a new one, and removes what is too old or too much.
    fn rotate(&mut self, rotation: Rotation) -> io::Result<()> {
        let (stem, extension) = parts_of(&self.path);
        // Nanoseconds, so that no two files share a name and names sort by time.
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S%.9f").to_string();
        let backup = self.path.with_file_name(format!("{stem}-{time}{extension}"));
        fs::rename(&self.path, backup)?;
        self.file = append_to(&self.path)?;
        self.bytes = 0;
        let age_max = rotation.age_days_max.map(|days| Duration::from_secs(u64::from(days) * 86_400));
        for (number, backup) in backups_of(&self.path)?.into_iter().enumerate() {
            let is_too_much = rotation.backups_max.is_some_and(|max| number >= max as usize);
            let is_too_old = age_max.is_some_and(|max| backup.age > max);
            if is_too_much || is_too_old {
                fs::remove_file(backup.path)?;
            }
        }
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// The name without its last extension, and that extension with its dot.
fn parts_of(path: &Path) -> (String, String) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    (stem, extension.unwrap_or_default())
}

struct Backup {
    path: PathBuf,
    age: Duration,
}

/// The files that were moved aside, newest first: their names end in the time, and sort by it.
fn backups_of(path: &Path) -> io::Result<Vec<Backup>> {
    let (stem, extension) = parts_of(path);
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let now = SystemTime::now();
    let mut backups = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let time =
            name.strip_prefix(&format!("{stem}-")).and_then(|rest| rest.strip_suffix(extension.as_str()));
        if time.is_some_and(|time| time.starts_with(|c: char| c.is_ascii_digit()) && time.contains('T')) {
            let age = now.duration_since(entry.metadata()?.modified()?).unwrap_or_default();
            backups.push(Backup { path: entry.path(), age });
        }
    }
    backups.sort_by(|one, other| other.path.cmp(&one.path));
    Ok(backups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Format, Level};

    fn outputs(path: &Path, rotation: Option<Rotation>) -> Outputs {
        let outputs = vec![Output::File(path.to_owned())];
        Outputs::open(&LogConfig { level: Level::Info, format: Format::Json, outputs, rotation }).unwrap()
    }

    #[test]
    fn a_file_is_appended_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tenure.log");
        outputs(&path, None).write_line(b"one\n");
        outputs(&path, None).write_line(b"two\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_full_file_is_replaced_and_old_ones_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/tenure.log");
        let rotation = Rotation { file_bytes_max: 10, age_days_max: Some(1), backups_max: Some(2) };
        let log = outputs(&path, Some(rotation));
        fs::write(directory.path().join("logs/tenure-notes.log"), "not ours").unwrap();
        for number in 0..5 {
            log.write_line(format!("line {number}\n").as_bytes());
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 4\n");
        let mut kept: Vec<String> = backups_of(&path)
            .unwrap()
            .iter()
            .map(|backup| fs::read_to_string(&backup.path).unwrap())
            .collect();
        kept.sort();
        assert_eq!(kept, ["line 2\n", "line 3\n"]);
        assert!(directory.path().join("logs/tenure-notes.log").exists());
    }

    #[test]
    fn rotation_is_read_from_json() {
        let rotation = Rotation::parse(crate::config::settings::LOG_ROTATION_DEFAULT).unwrap();
        assert_eq!(rotation, Rotation { file_bytes_max: 100 << 20, age_days_max: None, backups_max: None });
        assert!(
            Rotation::parse(r#"{"maxsize": true}"#).unwrap_err().starts_with("invalid log rotation config: ")
        );
        assert!(Rotation::parse("{").unwrap_err().starts_with("improperly formatted log rotation config: "));
        assert!(Rotation::parse(r#"{"compress": true}"#).unwrap_err().contains("not supported"));
    }
}
