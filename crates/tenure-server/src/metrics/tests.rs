//! The names that dashboards and etcd's own tests look for.

use super::*;
use tonic::Code;

/// The unlabelled names, and the labelled ones of one member, of etcd's test of missing metrics; without `go_*`.
const EXPECTED: &str = "
etcd_cluster_version etcd_debugging_auth_revision
etcd_debugging_disk_backend_commit_rebalance_duration_seconds
etcd_debugging_disk_backend_commit_spill_duration_seconds
etcd_debugging_disk_backend_commit_write_duration_seconds
etcd_debugging_lease_granted_total etcd_debugging_lease_renewed_total etcd_debugging_lease_revoked_total
etcd_debugging_lease_ttl_total etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_current_revision
etcd_debugging_mvcc_db_compaction_keys_total etcd_debugging_mvcc_db_compaction_last
etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds
etcd_debugging_mvcc_db_compaction_total_duration_milliseconds etcd_debugging_mvcc_events_total
etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds etcd_debugging_mvcc_keys_total
etcd_debugging_mvcc_pending_events_total etcd_debugging_mvcc_slow_watcher_total
etcd_debugging_mvcc_total_put_size_in_bytes etcd_debugging_mvcc_watch_stream_total
etcd_debugging_mvcc_watcher_total etcd_debugging_server_lease_expired_total
etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds
etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds
etcd_debugging_server_watch_send_loop_control_stream_duration_seconds
etcd_debugging_server_watch_send_loop_progress_duration_seconds
etcd_debugging_snap_save_marshalling_duration_seconds etcd_debugging_snap_save_total_duration_seconds
etcd_debugging_store_expires_total etcd_debugging_store_watch_requests_total etcd_debugging_store_watchers
etcd_disk_backend_commit_duration_seconds etcd_disk_backend_defrag_duration_seconds
etcd_disk_backend_snapshot_duration_seconds etcd_disk_defrag_inflight etcd_disk_wal_fsync_duration_seconds
etcd_disk_wal_write_bytes_total etcd_disk_wal_write_duration_seconds
etcd_grpc_proxy_cache_hits_total etcd_grpc_proxy_cache_keys_total etcd_grpc_proxy_cache_misses_total
etcd_grpc_proxy_events_coalescing_total etcd_grpc_proxy_watchers_coalescing_total
etcd_mvcc_db_open_read_transactions etcd_mvcc_db_total_size_in_bytes etcd_mvcc_db_total_size_in_use_in_bytes
etcd_mvcc_delete_total etcd_mvcc_hash_duration_seconds etcd_mvcc_hash_rev_duration_seconds etcd_mvcc_put_total
etcd_mvcc_range_total etcd_mvcc_txn_total etcd_network_client_grpc_received_bytes_total
etcd_network_client_grpc_sent_bytes_total etcd_network_known_peers etcd_server_apply_duration_seconds
etcd_server_client_requests_total etcd_server_go_version etcd_server_has_leader etcd_server_health_failures
etcd_server_health_success etcd_server_heartbeat_send_failures_total etcd_server_id etcd_server_is_leader
etcd_server_is_learner etcd_server_leader_changes_seen_total etcd_server_learner_promote_successes
etcd_server_proposals_applied_total etcd_server_proposals_committed_total etcd_server_proposals_failed_total
etcd_server_proposals_pending etcd_server_quota_backend_bytes etcd_server_range_duration_seconds
etcd_server_read_indexes_failed_total etcd_server_request_duration_seconds etcd_server_slow_apply_total
etcd_server_slow_read_indexes_total etcd_server_snapshot_apply_in_progress_total etcd_server_version
etcd_snap_db_fsync_duration_seconds etcd_snap_db_save_total_duration_seconds etcd_snap_fsync_duration_seconds
grpc_server_handled_total grpc_server_msg_received_total grpc_server_msg_sent_total grpc_server_started_total
os_fd_limit os_fd_used promhttp_metric_handler_requests_in_flight promhttp_metric_handler_requests_total
process_cpu_seconds_total process_open_fds process_max_fds process_resident_memory_bytes
process_virtual_memory_bytes process_start_time_seconds
";

fn used() -> Arc<Metrics> {
    let metrics = Metrics::new(MetricsDetail::Basic).unwrap();
    metrics.identify(MemberId(0x8e9e_05c5_2164_694d), &FeatureGates::default());
    metrics.set_cluster_version("3.7");
    metrics.apply.observe(Operation::Put, true, Duration::from_millis(1));
    metrics.request.observe(Operation::Range, false, Duration::from_millis(1));
    metrics.grpc.count_request(RequestType::Unary, "3.7");
    metrics
}

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.encode().unwrap()).unwrap()
}

#[test]
fn no_metric_is_missing() {
    let text = text(&used());
    let missing: Vec<&str> = EXPECTED
        .split_whitespace()
        .filter(|name| !text.lines().any(|line| line.starts_with(&format!("# TYPE {name} "))))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn samples_read_as_etcds_do() {
    let metrics = used();
    metrics.handles.mvcc_put.inc_by(2);
    metrics
        .grpc
        .method(methods::position("/etcdserverpb.Watch/Watch").unwrap())
        .handled(Code::Cancelled)
        .inc_by(6);
    let text = text(&metrics);
    for line in [
        "etcd_mvcc_put_total 2",
        "etcd_server_version{server_version=\"3.7.1\"} 1",
        "etcd_cluster_version{cluster_version=\"3.7\"} 1",
        "etcd_server_id{server_id=\"8e9e05c52164694d\"} 1",
        "etcd_server_is_learner 0",
        "grpc_server_handled_total{grpc_code=\"Canceled\",grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"} 6",
        "grpc_server_started_total{grpc_method=\"Campaign\",grpc_service=\"v3electionpb.Election\",grpc_type=\"unary\"} 0",
        "etcd_server_apply_duration_seconds_count{op=\"Put\",success=\"true\",version=\"v3\"} 1",
        "etcd_server_feature_enabled{name=\"FastLeaseKeepAlive\",stage=\"BETA\"} 1",
        "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
    assert!(!text.contains("go_goroutines"), "what is Go's is not faked");
    assert!(!text.contains("grpc_server_handling_seconds"), "only with extensive metrics");
}

#[test]
fn a_new_cluster_version_replaces_the_old_one() {
    let metrics = used();
    metrics.set_cluster_version("3.8");
    let text = text(&metrics);
    assert!(text.contains("cluster_version=\"3.8\"") && !text.contains("cluster_version=\"3.7\""));
}

#[test]
fn values_are_read_when_somebody_asks() {
    let metrics = Metrics::new(MetricsDetail::Extensive).unwrap();
    metrics.on_scrape(|handles| handles.current_revision.set(handles.current_revision.get() + 7));
    assert!(text(&metrics).contains("\netcd_debugging_mvcc_current_revision 7\n"));
    let second = text(&metrics);
    assert!(second.contains("\netcd_debugging_mvcc_current_revision 14\n"));
    assert!(second.contains("# TYPE grpc_server_handling_seconds histogram"));
}
