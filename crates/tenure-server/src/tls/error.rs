//! Why TLS cannot be begun with.

use crate::config::EndpointUrl;
use std::io;
use std::path::{Path, PathBuf};

/// Files or settings of TLS that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("open {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{what} {}: {reason}", path.display())]
    Content {
        /// What it should be.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A certificate cannot be made.
    #[error("cannot generate a certificate: {0}")]
    Generate(String),
    /// Settings contradict each other.
    #[error("{0}")]
    Settings(String),
    /// A URL asks for TLS and there is no certificate.
    #[error("cannot listen on TLS for {0}: KeyFile and CertFile are not presented")]
    NoCertificate(EndpointUrl),
}

impl TlsError {
    pub(super) fn content(what: &'static str, path: &Path, reason: impl Into<String>) -> Self {
        Self::Content { what, path: path.to_owned(), reason: reason.into() }
    }
}
