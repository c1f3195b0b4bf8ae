//! What is counted of one other member, under etcd's names.

use crate::metrics::Handles;
use prometheus::{Histogram, IntCounter, IntGauge};
use tenure_core::types::MemberId;

/// The counters of one other member.
#[derive(Clone, Debug)]
pub struct PeerCounts {
    /// 1 while it is reached.
    pub active: IntGauge,
    /// How often it was lost.
    pub disconnected: IntCounter,
    /// Bytes to it, over streams, posts and snapshots.
    pub sent_bytes: IntCounter,
    /// Messages that did not get there.
    pub sent_failures: IntCounter,
    /// Bytes from it.
    pub received_bytes: IntCounter,
    /// Messages that could not be read or had to be dropped.
    pub received_failures: IntCounter,
    /// Seconds from a probe to its answer.
    pub round_trip: Histogram,
}

impl PeerCounts {
    /// Of the member `remote`, as `local` sees it.
    #[must_use]
    pub fn new(handles: &Handles, local: MemberId, remote: MemberId) -> Self {
        let (local, remote) = (format!("{:x}", local.0), format!("{:x}", remote.0));
        let pair = [local.as_str(), remote.as_str()];
        let remote = [remote.as_str()];
        Self {
            active: handles.active_peers.with_label_values(&pair),
            disconnected: handles.disconnected_peers.with_label_values(&pair),
            sent_bytes: handles.peer_sent_bytes.with_label_values(&remote),
            sent_failures: handles.peer_sent_failures.with_label_values(&remote),
            received_bytes: handles.peer_received_bytes.with_label_values(&remote),
            received_failures: handles.peer_received_failures.with_label_values(&remote),
            round_trip: handles.peer_round_trip.with_label_values(&remote),
        }
    }
}

/// A snapshot under way: one more in flight, and in the end a success with its time, or a failure.
#[derive(Debug)]
pub struct SnapshotCount {
    inflights: IntGauge,
    failures: IntCounter,
    success: IntCounter,
    seconds: Histogram,
    began: std::time::Instant,
    has_arrived: bool,
}

impl SnapshotCount {
    /// To another member.
    #[must_use]
    pub fn sent(handles: &Handles, to: MemberId) -> Self {
        let label = format!("{:x}", to.0);
        let label = [label.as_str()];
        Self::begin(
            handles.snapshot_send_inflights.with_label_values(&label),
            handles.snapshot_send_failures.with_label_values(&label),
            handles.snapshot_send_success.with_label_values(&label),
            handles.snapshot_send_seconds.with_label_values(&label),
        )
    }

    /// From another member.
    #[must_use]
    pub fn received(handles: &Handles, from: MemberId) -> Self {
        let label = format!("{:x}", from.0);
        let label = [label.as_str()];
        Self::begin(
            handles.snapshot_receive_inflights.with_label_values(&label),
            handles.snapshot_receive_failures.with_label_values(&label),
            handles.snapshot_receive_success.with_label_values(&label),
            handles.snapshot_receive_seconds.with_label_values(&label),
        )
    }

    fn begin(inflights: IntGauge, failures: IntCounter, success: IntCounter, seconds: Histogram) -> Self {
        inflights.inc();
        let began = std::time::Instant::now();
        Self { inflights, failures, success, seconds, began, has_arrived: false }
    }

    /// It has arrived whole. Without this it counts as a failure.
    pub fn arrived(mut self) {
        self.has_arrived = true;
    }
}

impl Drop for SnapshotCount {
    fn drop(&mut self) {
        self.inflights.dec();
        if self.has_arrived {
            self.success.inc();
            self.seconds.observe(self.began.elapsed().as_secs_f64());
        } else {
            self.failures.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MetricsDetail;
    use crate::metrics::Metrics;

    #[test]
    fn a_snapshot_that_breaks_off_is_a_failure() {
        let metrics = Metrics::new(MetricsDetail::Basic).unwrap();
        let labels = ["ab"];
        let handles = &metrics.handles;
        let under_way = SnapshotCount::sent(handles, MemberId(0xab));
        assert_eq!(handles.snapshot_send_inflights.with_label_values(&labels).get(), 1);
        drop(under_way);
        SnapshotCount::sent(handles, MemberId(0xab)).arrived();
        assert_eq!(handles.snapshot_send_inflights.with_label_values(&labels).get(), 0);
        assert_eq!(handles.snapshot_send_failures.with_label_values(&labels).get(), 1);
        assert_eq!(handles.snapshot_send_success.with_label_values(&labels).get(), 1);
        assert_eq!(handles.snapshot_send_seconds.with_label_values(&labels).get_sample_count(), 1);
    }
}
