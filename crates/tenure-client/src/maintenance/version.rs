//! Servers that are too old for this client.

use super::Maintenance;
use crate::{Error, Result};
use futures::future::try_join_all;

/// The oldest server that is no old one: a minor version before the etcd client that this one follows.
const VERSION_MIN: (u64, u64) = (3, 6);

impl Maintenance {
    /// Asks all endpoints for their version.
    pub(crate) async fn reject_old_servers(&self) -> Result<()> {
        let endpoints = self.client.endpoints();
        try_join_all(endpoints.iter().map(|endpoint| async move {
            let status = self.status(endpoint).await?;
            check(endpoint, status.version)
        }))
        .await
        .map(drop)
    }
}

fn check(endpoint: &str, version: String) -> Result<()> {
    let parsed = major_and_minor(&version).ok_or(Error::Protocol("a server's version is not X.Y.Z"))?;
    if parsed >= VERSION_MIN {
        return Ok(());
    }
    let version_min = format!("{}.{}.0", VERSION_MIN.0, VERSION_MIN.1);
    Err(Error::OldCluster { endpoint: endpoint.to_owned(), version, version_min })
}

fn major_and_minor(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.splitn(3, '.');
    let (major, minor, _) = (parts.next()?, parts.next()?, parts.next()?);
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_3_6_are_old() {
        for version in ["3.6.0", "3.7.1", "3.10.0", "4.0.0", "3.7.0-alpha.0"] {
            check("a:1", version.to_owned()).unwrap();
        }
        for version in ["3.5.30", "3.4.0", "2.9.9"] {
            let error = check("a:1", version.to_owned()).unwrap_err();
            assert!(matches!(error, Error::OldCluster { .. }), "{error}");
            assert!(error.to_string().contains(version) && error.to_string().contains("a:1"), "{error}");
        }
        for version in ["", "3", "3.6", "x.y.z"] {
            assert!(matches!(check("a:1", version.to_owned()), Err(Error::Protocol(_))), "{version}");
        }
    }
}
