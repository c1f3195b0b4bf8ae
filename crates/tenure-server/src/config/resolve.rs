//! From [`Settings`] to [`ServerConfig`]: the checks in etcd's order and with etcd's messages, then a refusal of what this
//! version cannot do.

use super::{
    AuthToken, AutoCompaction, ConfigError, EndpointUrl, Feature, Keepalive, MetricsDetail, Notice,
    QUOTA_BYTES_DEFAULT, QUOTA_BYTES_SUGGESTED_MAX, ServerConfig, Settings, SocketOptions, Storage,
    discovery,
    flag::{DiscoveryFallback, Support},
    settings::FLAGS,
    tls,
    url::{join, parse_list},
    value::{Span, format_duration, format_span},
};
use crate::{
    limits,
    log::{Format, Level, LogConfig, Output, Rotation},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

/// The longest election timeout.
const ELECTION_MS_MAX: u64 = 50_000;

/// Checks settings and turns them into what the member and the log need.
///
/// # Errors
/// The first thing that is wrong, with etcd's text; or what this version cannot do.
pub fn resolve(
    settings: &Settings,
    notices: &mut Vec<Notice>,
) -> Result<(ServerConfig, LogConfig), ConfigError> {
    let mut settings = settings.clone();
    if settings.is_given("listen-client-urls") && !settings.is_given("advertise-client-urls") {
        settings.advertise_client_urls.clear();
    }
    if !settings.is_given("initial-cluster") {
        if uses_discovery(&settings) {
            settings.initial_cluster.clear();
        } else if settings.name != "default" {
            settings.initial_cluster = cluster_of(&settings);
        }
    }
    if settings.discovery_fallback == DiscoveryFallback::Proxy {
        let text = r#"v2 proxy is deprecated, and --discovery-fallback can't be configured as "proxy""#;
        return Err(ConfigError::invalid(text.to_owned()));
    }
    let log = log_config(&settings)?;
    check_urls(&settings)?;
    check_bootstrap(&settings)?;
    check_timing(&settings)?;
    let auto_compaction =
        AutoCompaction::parse(&settings.auto_compaction_mode, &settings.auto_compaction_retention)
            .map_err(ConfigError::invalid)?;
    check_features(&settings)?;
    check_tls_versions(&settings)?;
    check_numbers(&settings)?;
    refuse_unsupported(&settings)?;
    check_cluster(&settings)?;
    advise(&settings, notices);
    let server = server_config(&settings, auto_compaction, notices)?;
    Ok((server, log))
}

fn invalid<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::invalid(text.into()))
}

fn uses_discovery(settings: &Settings) -> bool {
    !settings.discovery_srv.is_empty()
        || !settings.discovery_srv_name.is_empty()
        || !settings.discovery_endpoints.0.is_empty()
}

/// The initial cluster of one member, from its name and URLs.
fn cluster_of(settings: &Settings) -> String {
    let name = if settings.name.is_empty() { "default" } else { &settings.name };
    let members = settings.initial_advertise_peer_urls.iter().map(|url| format!("{name}={url}"));
    members.collect::<Vec<_>>().join(",")
}

fn check_urls(settings: &Settings) -> Result<(), ConfigError> {
    let bound = [
        &settings.listen_peer_urls,
        &settings.listen_client_urls,
        &settings.listen_client_http_urls,
        &settings.listen_metrics_urls,
    ];
    for url in bound.into_iter().flatten() {
        url.check_bindable()?;
    }
    for url in &settings.initial_advertise_peer_urls {
        url.check_advertisable().or_else(|error| {
            let urls = join(&settings.initial_advertise_peer_urls);
            invalid(format!("--initial-advertise-peer-urls {urls:?} must be \"host:port\" ({error})"))
        })?;
    }
    for url in &settings.advertise_client_urls {
        url.check_advertisable().or_else(|error| {
            let urls = join(&settings.advertise_client_urls);
            invalid(format!(
                "--advertise-client-urls {urls:?} must be in the format \"host:port\", \"unix:/path/to/socket\" or \
                 \"unixs:/path/to/socket\" ({error})"
            ))
        })?;
    }
    Ok(())
}

fn check_bootstrap(settings: &Settings) -> Result<(), ConfigError> {
    let ways = [
        !settings.initial_cluster.is_empty(),
        !settings.discovery_srv.is_empty(),
        !settings.discovery_endpoints.0.is_empty(),
    ];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        return invalid(
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
             \"discovery-endpoints\" or \"discovery-srv\"",
        );
    }
    if settings.discovery_token.is_empty() != settings.discovery_endpoints.0.is_empty() {
        return invalid("both --discovery-token and --discovery-endpoints must be set");
    }
    if settings.discovery_endpoints.0.iter().any(|endpoint| endpoint.trim().is_empty()) {
        return invalid("--discovery-endpoints must not contain empty endpoints");
    }
    Ok(())
}

fn check_timing(settings: &Settings) -> Result<(), ConfigError> {
    let (heartbeat, election) = (settings.heartbeat_interval_ms, settings.election_timeout_ms);
    if heartbeat == 0 {
        return invalid("--heartbeat-interval must be >0 (set to 0ms)");
    }
    if election == 0 {
        return invalid("--election-timeout must be >0 (set to 0ms)");
    }
    if heartbeat.saturating_mul(5) > election {
        return invalid(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat}ms]"
        ));
    }
    if election > ELECTION_MS_MAX {
        return invalid(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than {ELECTION_MS_MAX}ms"
        ));
    }
    if !settings.listen_client_urls.is_empty() && settings.advertise_client_urls.is_empty() {
        return invalid("--advertise-client-urls is required when --listen-client-urls is set explicitly");
    }
    Ok(())
}

fn check_features(settings: &Settings) -> Result<(), ConfigError> {
    let enabled = |feature| settings.feature_gates.enabled(feature);
    if settings.enable_distributed_tracing
        && !(0..=1_000_000).contains(&settings.distributed_tracing_sampling_rate)
    {
        return invalid(
            "distributed tracing configurition is not valid: (tracing sampling rate must be between 0 and \
                        1000000)",
        );
    }
    if enabled(Feature::LeaseCheckpointPersist) && !enabled(Feature::LeaseCheckpoint) {
        return invalid(
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint",
        );
    }
    if settings.compact_hash_check_time <= Span::default() {
        let set_to = format_span(settings.compact_hash_check_time);
        return invalid(format!("--compact-hash-check-time must be >0 (set to {set_to})"));
    }
    Ok(())
}

fn check_tls_versions(settings: &Settings) -> Result<(), ConfigError> {
    let number = |version: &str| match version {
        "" => Ok(0),
        "TLS1.2" => Ok(12),
        "TLS1.3" => Ok(13),
        _ => invalid(format!("unexpected TLS version {version:?} (must be one of: TLS1.2, TLS1.3)")),
    };
    let (min, max) = (&settings.tls_min_version, &settings.tls_max_version);
    let (least, greatest) = (number(min)?, number(max)?);
    if greatest != 0 && least > greatest {
        return invalid(format!("min version ({min}) is greater than max version ({max})"));
    }
    if least == 13 && !settings.cipher_suites.0.is_empty() {
        return invalid("cipher suites cannot be configured when only TLS1.3 is enabled");
    }
    Ok(())
}

fn check_numbers(settings: &Settings) -> Result<(), ConfigError> {
    if settings.max_learners < 0 {
        return invalid("max learners set should not be less than 0");
    }
    if !(4..=31).contains(&settings.bcrypt_cost) {
        return invalid(format!("--bcrypt-cost must be between 4 and 31 (set to {})", settings.bcrypt_cost));
    }
    if !matches!(settings.metrics.as_str(), "basic" | "extensive") {
        return invalid(format!("--metrics must be basic or extensive (set to {:?})", settings.metrics));
    }
    Ok(())
}

/// Whatever asks for discovery by DNS or tracing, which this version has not. To start without them would be worse than not
/// to start.
fn refuse_unsupported(settings: &Settings) -> Result<(), ConfigError> {
    for http in &settings.listen_client_http_urls {
        if settings.listen_client_urls.iter().any(|url| url.address() == http.address()) {
            return invalid(format!(
                "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url {http}"
            ));
        }
    }
    let defaults = Settings::default();
    for flag in FLAGS.iter().filter(|flag| flag.support == Support::Refused) {
        if (flag.show)(settings) != (flag.show)(&defaults) {
            return invalid(format!("--{} is not supported by this version of Tenure", flag.name));
        }
    }
    Ok(())
}

/// Members as names and their URLs. A name without `=` has one empty URL, which is no URL.
///
/// # Errors
/// With exit code 1: what is no URL.
pub(crate) fn parse_cluster(text: &str) -> Result<BTreeMap<&str, Vec<EndpointUrl>>, ConfigError> {
    let mut members: BTreeMap<&str, Vec<EndpointUrl>> = BTreeMap::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, url) = pair.split_once('=').unwrap_or((pair, ""));
        let urls =
            parse_list(url).or_else(|error| invalid(format!("error setting up initial cluster: {error}")))?;
        members.entry(name).or_default().extend(urls);
    }
    Ok(members)
}

fn initial_cluster(settings: &Settings) -> Result<BTreeMap<String, Vec<EndpointUrl>>, ConfigError> {
    let members = parse_cluster(&settings.initial_cluster)?;
    let members: BTreeMap<String, Vec<EndpointUrl>> =
        members.into_iter().map(|(name, urls)| (name.to_owned(), urls)).collect();
    // The member alone is what the configuration says without it.
    Ok(if members.len() == 1 { BTreeMap::new() } else { members })
}

/// The member is one of its cluster, at the URLs that it advertises.
fn check_cluster(settings: &Settings) -> Result<(), ConfigError> {
    if !settings.discovery_endpoints.0.is_empty() {
        return Ok(());
    }
    let members = parse_cluster(&settings.initial_cluster)?;
    let Some(own) = members.get(settings.name.as_str()) else {
        return invalid(format!(
            "couldn't find local name {:?} in the initial cluster configuration",
            settings.name
        ));
    };
    let advertised = &settings.initial_advertise_peer_urls;
    let lacking = |urls: &[EndpointUrl], of: &[EndpointUrl]| -> Vec<String> {
        urls.iter().filter(|url| !of.contains(url)).map(ToString::to_string).collect()
    };
    let missing: Vec<String> =
        lacking(own, advertised).iter().map(|url| format!("{}={url}", settings.name)).collect();
    if !missing.is_empty() {
        return invalid(format!(
            "--initial-cluster has {} but missing from --initial-advertise-peer-urls={}",
            missing.join(","),
            join(advertised)
        ));
    }
    let missing = lacking(advertised, own);
    if !missing.is_empty() {
        return invalid(format!(
            "--initial-advertise-peer-urls has {} but missing from --initial-cluster={}",
            missing.join(","),
            cluster_of(settings)
        ));
    }
    let mut seen = BTreeSet::new();
    if members.values().flatten().any(|url| !seen.insert(url.to_string())) {
        return invalid(format!("initial cluster {} has duplicate url", settings.initial_cluster));
    }
    Ok(())
}

/// What is accepted and deserves a word.
fn advise(settings: &Settings, notices: &mut Vec<Notice>) {
    let defaults = Settings::default();
    for flag in FLAGS.iter().filter(|flag| settings.is_given(flag.name)) {
        match flag.name {
            "max-snapshots" => notices.push(Notice::warn(
                "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
            )),
            "v2-deprecation" => notices.push(Notice::warn(
                "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is enforced, \
                 ignoring user input.",
            )),
            _ if flag.support == Support::NoEffect && (flag.show)(settings) != (flag.show)(&defaults) => notices
                .push(Notice::warn("flag has no effect in Tenure").with("flag-name", flag.name.to_owned())),
            _ => {}
        }
    }
    if settings.name == "default" {
        notices.push(
            Notice::warn(
                "it isn't recommended to use default name, please set a value for --name. Note that etcd might run \
                 into issue when multiple members have the same default name",
            )
            .with("name", settings.name.clone()),
        );
    }
    if settings.unsafe_no_fsync {
        notices.push(Notice::warn("fsync is off: a crash of the machine loses acknowledged writes"));
    }
    if settings.is_given("enable-grpc-gateway") && settings.enable_grpc_gateway {
        notices.push(Notice::warn("this version of Tenure has no JSON gateway: /v3/ answers 404"));
    }
}

fn quota(bytes: i64, notices: &mut Vec<Notice>) -> Option<u64> {
    match u64::try_from(bytes) {
        Ok(0) => Some(QUOTA_BYTES_DEFAULT),
        Ok(bytes) => {
            if bytes > QUOTA_BYTES_SUGGESTED_MAX {
                notices.push(
                    Notice::warn("quota exceeds the maximum value")
                        .with("quota-size-bytes", bytes.to_string())
                        .with("quota-maximum-size-bytes", QUOTA_BYTES_SUGGESTED_MAX.to_string()),
                );
            }
            Some(bytes)
        }
        Err(_) => {
            notices.push(Notice::info("disabled backend quota").with("quota-size-bytes", bytes.to_string()));
            None
        }
    }
}

fn socket(settings: &Settings) -> SocketOptions {
    SocketOptions { reuse_port: settings.socket_reuse_port, reuse_address: settings.socket_reuse_address }
}

fn progress_interval(span: Span, notices: &mut Vec<Notice>) -> Duration {
    let interval = span.or(Duration::from_secs(600));
    if interval < limits::WATCH_PROGRESS_INTERVAL_MIN {
        notices.push(Notice::warn("adjusting watch progress notify interval to minimum period").with(
            "min-watch-progress-notify-interval",
            format_duration(limits::WATCH_PROGRESS_INTERVAL_MIN),
        ));
    }
    interval.max(limits::WATCH_PROGRESS_INTERVAL_MIN)
}

/// Members of before cannot be asked for more signs of life than they give: not below etcd's bound.
fn peer_timeout(name: &str, span: Span, notices: &mut Vec<Notice>) -> Duration {
    let min = limits::PEER_TIMEOUT_MIN;
    if span < Span::of(min) {
        notices.push(Notice::info(&format!("{name} increased to minimum value: {}", format_duration(min))));
    }
    span.duration().max(min)
}

fn server_config(
    settings: &Settings,
    auto_compaction: AutoCompaction,
    notices: &mut Vec<Notice>,
) -> Result<ServerConfig, ConfigError> {
    let directory = if settings.data_dir.is_empty() {
        let directory = format!("{}.tenure", settings.name);
        notices.push(Notice::warn("'data-dir' was empty; using default").with("data-dir", directory.clone()));
        directory
    } else {
        settings.data_dir.clone()
    };
    let tls = tls::resolve(settings, Path::new(&directory), notices)?;
    let discovery = discovery::resolve(settings)?;
    let narrow = |name: &str, value: u64| {
        u32::try_from(value).or_else(|_| invalid(format!("--{name} is too large (set to {value})")))
    };
    let step = |value: i64| u32::try_from(value).ok().filter(|value| *value > 0).unwrap_or(1_000);
    Ok(ServerConfig {
        name: settings.name.clone(),
        storage: Storage::Directory(PathBuf::from(directory)),
        wal_directory: Some(&settings.wal_dir).filter(|path| !path.is_empty()).map(PathBuf::from),
        listen_client_urls: settings.listen_client_urls.clone(),
        listen_client_http_urls: settings.listen_client_http_urls.clone(),
        listen_metrics_urls: settings.listen_metrics_urls.clone(),
        listen_peer_urls: settings.listen_peer_urls.clone(),
        advertise_client_urls: settings.advertise_client_urls.clone(),
        initial_advertise_peer_urls: settings.initial_advertise_peer_urls.clone(),
        initial_cluster: initial_cluster(settings)?,
        initial_cluster_token: cluster_token(settings).to_owned(),
        discovery,
        initial_cluster_state: settings.initial_cluster_state,
        force_new_cluster: settings.force_new_cluster,
        heartbeat_interval: Duration::from_millis(settings.heartbeat_interval_ms),
        election_timeout: Duration::from_millis(settings.election_timeout_ms),
        raft_read_timeout: peer_timeout("raft-read-timeout", settings.raft_read_timeout, notices),
        raft_write_timeout: peer_timeout("raft-write-timeout", settings.raft_write_timeout, notices),
        initial_election_tick_advance: settings.initial_election_tick_advance,
        pre_vote: settings.pre_vote,
        strict_reconfig_check: settings.strict_reconfig_check,
        learners_max: u32::try_from(settings.max_learners).unwrap_or(u32::MAX),
        snapshot_count_entries: settings.snapshot_count,
        snapshot_catchup_entries: settings.snapshot_catchup_entries,
        quota_backend_bytes: quota(settings.quota_backend_bytes, notices),
        txn_ops_max: narrow("max-txn-ops", settings.max_txn_ops)?,
        request_bytes_max: narrow("max-request-bytes", settings.max_request_bytes)? as usize,
        concurrent_streams_max: settings.max_concurrent_streams,
        keepalive: keepalive(settings),
        socket: socket(settings),
        auto_compaction,
        compaction_batch_limit: step(settings.compaction_batch_limit),
        compaction_sleep_interval: settings.compaction_sleep_interval.or(Duration::from_millis(10)),
        corrupt_check_time: Some(settings.corrupt_check_time.duration()).filter(|time| !time.is_zero()),
        compact_hash_check_time: settings.compact_hash_check_time.duration(),
        downgrade_check_time: settings.downgrade_check_time.duration(),
        watch_progress_notify_interval: progress_interval(settings.watch_progress_notify_interval, notices),
        warning_apply_duration: settings.warning_apply_duration.duration(),
        warning_unary_request_duration: settings
            .warning_unary_request_duration
            .or(Duration::from_millis(300)),
        cors: settings.cors.0.clone(),
        host_whitelist: settings.host_whitelist.0.clone(),
        metrics: if settings.metrics == "extensive" {
            MetricsDetail::Extensive
        } else {
            MetricsDetail::Basic
        },
        auth_token: AuthToken::parse(&settings.auth_token, notices)?,
        bcrypt_cost: narrow("bcrypt-cost", settings.bcrypt_cost)?,
        auth_token_ttl: Duration::from_secs(settings.auth_token_ttl_s),
        fsync: !settings.unsafe_no_fsync,
        features: settings.feature_gates.clone(),
        client_tls: tls.client,
        peer_tls: tls.peer,
        self_signed_cert_validity_years: tls.validity_years,
    })
}

fn cluster_token(settings: &Settings) -> &str {
    match settings.discovery_endpoints.0.is_empty() {
        true => &settings.initial_cluster_token,
        false => &settings.discovery_token,
    }
}

fn keepalive(settings: &Settings) -> Keepalive {
    let given = |span: Span| (span > Span::default()).then(|| span.duration());
    let timeout = given(settings.grpc_keepalive_timeout);
    Keepalive {
        client_interval_min: settings.grpc_keepalive_min_time.duration(),
        // etcd pings only if both are given.
        interval: given(settings.grpc_keepalive_interval).filter(|_| timeout.is_some()),
        timeout,
    }
}

fn log_config(settings: &Settings) -> Result<LogConfig, ConfigError> {
    match settings.logger.as_str() {
        "zap" => {}
        "capnslog" => return invalid("--logger=capnslog is removed in v3.5"),
        other => return invalid(format!("unknown logger option {other:?}")),
    }
    let mut outputs: Vec<&str> = settings.log_outputs.0.iter().map(String::as_str).collect();
    outputs.sort_unstable();
    outputs.dedup();
    if outputs.is_empty() {
        outputs.push("default");
    }
    if outputs.len() > 1 && outputs.contains(&"default") {
        return invalid(r#"multi logoutput for "default" is not supported yet"#);
    }
    let files = outputs.iter().filter(|output| !matches!(**output, "default" | "stderr" | "stdout")).count();
    let rotation = if settings.enable_log_rotation {
        if files != 1 && (files > 1 || outputs.len() == 1) {
            return invalid(
                "--log-outputs requires a single file path when --log-rotate-config-json is defined",
            );
        }
        Some(Rotation::parse(&settings.log_rotation_config_json).map_err(ConfigError::invalid)?)
    } else {
        None
    };
    let outputs = outputs.into_iter().map(output).collect::<Result<_, _>>()?;
    let level = Level::parse(&settings.log_level)
        .ok_or_else(|| ConfigError::invalid(format!("unrecognized level: {:?}", settings.log_level)))?;
    let format = match settings.log_format.as_str() {
        "" | "json" => Format::Json,
        "console" => Format::Console,
        other => {
            return invalid(format!("unknown log format: {other}, supported values json, console"));
        }
    };
    Ok(LogConfig { level, format, outputs, rotation })
}

fn output(name: &str) -> Result<Output, ConfigError> {
    match name {
        "default" | "stderr" => Ok(Output::Stderr),
        "stdout" => Ok(Output::Stdout),
        "systemd/journal" => {
            invalid("--log-outputs=systemd/journal is not supported by this version of Tenure")
        }
        path => Ok(Output::File(PathBuf::from(path))),
    }
}
