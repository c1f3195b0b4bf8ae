//! What is made of files, made anew when they change.

use super::material::{self, Stamps};
use super::{TlsConfig, TlsError};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// How a configuration becomes what rustls takes.
type Load<T> = fn(Option<&TlsConfig>) -> Result<T, TlsError>;

/// A `T` made of the files of a configuration. A look at the files at each use is cheaper than a handshake by far, and sees every
/// way of replacing them.
pub(super) struct Fresh<T> {
    config: Option<TlsConfig>,
    files: Vec<PathBuf>,
    load: Load<T>,
    loaded: Mutex<Loaded<T>>,
}

struct Loaded<T> {
    stamps: Stamps,
    /// An error while the revoked certificates cannot be read: then nobody can be told from a revoked one.
    current: Result<Arc<T>, String>,
}

impl<T: Send + Sync + 'static> Fresh<T> {
    /// Reads the files.
    ///
    /// * `files`: those that `load` reads.
    pub fn new(config: Option<TlsConfig>, files: Vec<PathBuf>, load: Load<T>) -> Result<Self, TlsError> {
        let stamps = Stamps::of(&files);
        let current = Ok(Arc::new(load(config.as_ref())?));
        Ok(Self { config, files, load, loaded: Mutex::new(Loaded { stamps, current }) })
    }

    /// What the files say now; what they said before, if they cannot be used now.
    ///
    /// # Errors
    /// The list of revoked certificates cannot be read.
    pub async fn current(self: &Arc<Self>) -> Result<Arc<T>, String> {
        let fresh = Arc::clone(self);
        // A disk may be slow, and a network's more so.
        let looked = tokio::task::spawn_blocking(move || fresh.look()).await;
        looked.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn look(&self) -> Result<Arc<T>, String> {
        // Before they are read: what changes meanwhile is seen the next time.
        let stamps = Stamps::of(&self.files);
        let mut loaded = self.loaded.lock();
        if loaded.stamps != stamps {
            loaded.stamps = stamps;
            self.reload(&mut loaded);
        }
        loaded.current.clone()
    }

    fn reload(&self, loaded: &mut Loaded<T>) {
        let crl = self.config.as_ref().and_then(|config| config.crl.as_deref());
        if let Err(error) = crl.map_or(Ok(()), |path| material::revoked(path).map(drop)) {
            tracing::warn!(%error, "failed to read the revoked certificates; nobody can connect until they are readable");
            loaded.current = Err(error.to_string());
            return;
        }
        match (self.load)(self.config.as_ref()) {
            Ok(current) => {
                tracing::info!("TLS files have changed; what they hold is used from now on");
                loaded.current = Ok(Arc::new(current));
            }
            Err(error) => {
                tracing::warn!(%error, "failed to read changed TLS files; what was read before stays in use");
            }
        }
    }
}
