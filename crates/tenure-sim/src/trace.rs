//! What happened, as one number: two runs of a seed must agree on it.

/// A hash of everything that was noted (FNV-1a, 64 bits), and the last lines of it for a failure's report.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: u64,
    lines: std::collections::VecDeque<String>,
    echo: bool,
}

/// Lines that a failure shows.
const LINES_KEPT_MAX: usize = 40;
/// What it shows of a line.
const LINE_CHARS_MAX: usize = 250;

impl Trace {
    /// An empty trace. With `echo` every line is printed to standard error too.
    #[must_use]
    pub fn new(echo: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: std::collections::VecDeque::new(), echo }
    }

    /// Notes a line.
    pub fn note(&mut self, mut line: String) {
        for byte in line.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.echo {
            eprintln!("{line}");
        }
        if let Some((end, _)) = line.char_indices().nth(LINE_CHARS_MAX) {
            line.truncate(end);
        }
        if self.lines.len() == LINES_KEPT_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The hash so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines.
    pub fn tail(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
