//! The table, the sources and the checks, with the texts that tools and people look for.

use super::{flag::Support, settings::FLAGS, *};
use crate::tls::{CertificateFiles, TlsVersion};

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn invoke(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Invocation, ConfigError> {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    read(&arguments, &environment(variables))
}

fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Start {
    match invoke(arguments, variables) {
        Ok(Invocation::Serve(start)) => *start,
        other => panic!("no start: {other:?}"),
    }
}

/// Exit code and text of what is refused.
fn refused(arguments: &[&str]) -> (u8, String) {
    let error = invoke(arguments, &[]).expect_err("this is refused");
    (error.exit_code, error.text)
}

fn warnings(start: &Start) -> Vec<&str> {
    start.notices.iter().filter(|notice| notice.is_warning).map(|notice| notice.message.as_str()).collect()
}

#[test]
fn without_flags_the_settings_are_the_defaults_of_the_embedded_server() {
    assert_eq!(start(&[], &[]).server, ServerConfig::default());
    assert_eq!(start(&[], &[]).log, LogConfig::default());
}

#[test]
fn the_table_has_every_flag_of_etcd_3_7_once() {
    let mut names: Vec<&str> = FLAGS.iter().map(|flag| flag.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a name stands twice");
    // `--config-file`, `--version` and the ignored ones are known to the command line itself.
    assert_eq!(count, 111);
}

#[test]
fn every_default_can_be_given_and_shows_as_itself() {
    for flag in FLAGS {
        let mut settings = Settings::default();
        let shown = (flag.show)(&settings);
        if !shown.is_empty() {
            settings.give(flag, &shown).unwrap_or_else(|error| panic!("--{}: {error}", flag.name));
        }
        assert_eq!((flag.show)(&settings), shown, "--{}", flag.name);
    }
}

#[test]
fn every_file_key_stands_once() {
    let mut keys: Vec<&str> = FLAGS.iter().map(|flag| flag.file_key).filter(|key| !key.is_empty()).collect();
    keys.sort_unstable();
    let count = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), count);
}

#[test]
fn the_syntax_is_gos() {
    for arguments in [
        ["-name", "m1", "--pre-vote=false"].as_slice(),
        &["--name", "m1", "-pre-vote=0"],
        &["--name=m1", "--pre-vote=F"],
        &["--name=m1", "--pre-vote=false", "--"],
    ] {
        let server = start(arguments, &[]).server;
        assert_eq!((server.name.as_str(), server.pre_vote), ("m1", false), "{arguments:?}");
    }
    assert!(start(&["--unsafe-no-fsync", "--name=a"], &[]).server.fsync.eq(&false), "a bool stands alone");
    assert!(matches!(invoke(&["-h"], &[]), Ok(Invocation::Help)));
    assert!(matches!(invoke(&["--help"], &[]), Ok(Invocation::Help)));
    assert!(matches!(invoke(&["--version"], &[]), Ok(Invocation::Version)));
}

#[test]
fn a_flag_that_cannot_be_read_ends_with_2() {
    let cases: [(&[&str], &str); 12] = [
        (&["--nope"], "flag provided but not defined: -nope"),
        (&["--discovery", "x"], "flag provided but not defined: -discovery"),
        (&["--name"], "flag needs an argument: -name"),
        (&["---name"], "bad flag syntax: ---name"),
        (&["--=x"], "bad flag syntax: --=x"),
        (&["--pre-vote=maybe"], r#"invalid boolean value "maybe" for -pre-vote: parse error"#),
        (&["--heartbeat-interval", "x"], r#"invalid value "x" for flag -heartbeat-interval: parse error"#),
        (&["--heartbeat-interval=-1"], r#"invalid value "-1" for flag -heartbeat-interval: parse error"#),
        (
            &["--max-concurrent-streams", "4294967296"],
            "invalid value \"4294967296\" for flag -max-concurrent-streams: strconv.ParseUint: parsing \
             \"4294967296\": value out of range",
        ),
        (
            &["--v2-deprecation", "not-yet"],
            r#"invalid value "not-yet" for flag -v2-deprecation: invalid value "not-yet""#,
        ),
        (
            &["--initial-cluster-state", "old"],
            r#"invalid value "old" for flag -initial-cluster-state: invalid value"#,
        ),
        (
            &["--listen-client-urls", "127.0.0.1:2379"],
            "invalid value \"127.0.0.1:2379\" for flag -listen-client-urls: parse \"127.0.0.1:2379\": first path \
             segment in URL cannot contain colon",
        ),
    ];
    for (arguments, text) in cases {
        assert_eq!(refused(arguments), (2, text.to_owned()), "{arguments:?}");
    }
}

/// Command lines that can be read and are wrong, with etcd's texts.
const WRONG: [(&[&str], &str); 26] = [
    (&["serve"], r#""serve" is not a valid flag"#),
    (
        &["--listen-client-urls", "http://127.0.0.1:1"],
        "--advertise-client-urls is required when --listen-client-urls is set explicitly",
    ),
    (
        &["--initial-cluster=default=http://localhost:2380", "--discovery-srv=x"],
        "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
             \"discovery-endpoints\" or \"discovery-srv\"",
    ),
    (&["--discovery-token=x"], "both --discovery-token and --discovery-endpoints must be set"),
    (&["--heartbeat-interval=0"], "--heartbeat-interval must be >0 (set to 0ms)"),
    (&["--election-timeout=0"], "--election-timeout must be >0 (set to 0ms)"),
    (
        &["--election-timeout=499"],
        "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]",
    ),
    (
        &["--election-timeout=50001"],
        "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
    ),
    (
        &["--listen-client-urls=http://example.com:1", "--advertise-client-urls=http://example.com:1"],
        "expected IP in URL for binding (http://example.com:1)",
    ),
    (
        &["--advertise-client-urls=http://:1"],
        "--advertise-client-urls \"http://:1\" must be in the format \"host:port\", \"unix:/path/to/socket\" or \
             \"unixs:/path/to/socket\" (unexpected empty host (http://:1))",
    ),
    (&["--auto-compaction-mode=daily"], r#"unknown auto-compaction-mode "daily""#),
    (&["--auto-compaction-retention=x"], r#"error parsing CompactionRetention: time: invalid duration "x""#),
    (&["--max-learners=-1"], "max learners set should not be less than 0"),
    (
        &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
        "min version (TLS1.3) is greater than max version (TLS1.2)",
    ),
    (&["--tls-min-version=TLS1.1"], "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)"),
    (
        &["--tls-min-version=TLS1.3", "--cipher-suites=TLS_AES_128_GCM_SHA256"],
        "cipher suites cannot be configured when only TLS1.3 is enabled",
    ),
    (
        &["--listen-metrics-urls=https://127.0.0.1:1"],
        "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
    ),
    (
        &["--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://127.0.0.1:1"],
        "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS \
             scheme",
    ),
    (
        &["--feature-gates=LeaseCheckpointPersist=true"],
        "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint",
    ),
    (&["--compact-hash-check-time=0"], "--compact-hash-check-time must be >0 (set to 0s)"),
    (
        &["--discovery-fallback=proxy"],
        r#"v2 proxy is deprecated, and --discovery-fallback can't be configured as "proxy""#,
    ),
    (&["--logger=capnslog"], "--logger=capnslog is removed in v3.5"),
    (&["--log-outputs=default,x"], r#"multi logoutput for "default" is not supported yet"#),
    (&["--log-level=loud"], r#"unrecognized level: "loud""#),
    (&["--log-format=xml"], "unknown log format: xml, supported values json, console"),
    (
        &["--enable-log-rotation"],
        "--log-outputs requires a single file path when --log-rotate-config-json is defined",
    ),
];

#[test]
fn a_flag_that_is_wrong_ends_with_1() {
    for (arguments, text) in WRONG {
        assert_eq!(refused(arguments), (1, text.to_owned()), "{arguments:?}");
    }
}

#[test]
fn what_this_version_cannot_do_is_refused_and_not_ignored() {
    for arguments in [
        ["--discovery-srv=example.com"].as_slice(),
        &["--enable-distributed-tracing"],
        &["--log-outputs=systemd/journal"],
    ] {
        let (code, text) = refused(arguments);
        assert!(
            code == 1 && text.contains("not supported by this version of Tenure"),
            "{arguments:?}: {text}"
        );
    }
}

#[test]
fn members_are_not_given_up_sooner_than_by_etcd() {
    let given = start(&["--raft-read-timeout=7s", "--raft-write-timeout=1s"], &[]);
    let seconds =
        [given.server.raft_read_timeout, given.server.raft_write_timeout].map(|time| time.as_secs());
    assert_eq!(seconds, [7, 5]);
    let told = |text: &str| given.notices.iter().any(|notice| notice.message == text);
    assert!(told("raft-write-timeout increased to minimum value: 5s"));
    assert!(!told("raft-read-timeout increased to minimum value: 5s"));
}

#[test]
fn a_file_says_where_the_registry_of_a_discovery_is() {
    let yaml = "discovery-config:\n  token: tok\n  client:\n    endpoints: [\"https://h:1\", \"https://i:1\"]\n    \
                dial-timeout: 3000000000\n    secure:\n      cacert: ca.crt\n      server-name: db\n    auth:\n      \
                token: xyzzy\n";
    let discovery = from_file(yaml).unwrap().server.discovery.unwrap();
    assert_eq!(discovery.endpoints, ["https://h:1", "https://i:1"]);
    assert_eq!((discovery.token.as_str(), discovery.dial_timeout.as_secs()), ("tok", 3));
    let tls = discovery.tls.unwrap();
    assert_eq!(tls.server_name.as_deref(), Some("db"));
    assert_eq!(tls.authorities.as_deref(), Some(std::path::Path::new("ca.crt")));
    assert_eq!(discovery.auth_token, Some("xyzzy".to_owned().into()));
}

#[test]
fn an_initial_cluster_has_names_and_urls() {
    let own = "--initial-advertise-peer-urls=http://10.0.0.1:2380";
    let two = "--initial-cluster=a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,b=http://10.0.0.3:2380";
    let cluster = start(&["--name=a", own, two], &[]).server.founders();
    let texts = |name: &str| cluster[name].iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts("a"), ["http://10.0.0.1:2380"]);
    assert_eq!(texts("b"), ["http://10.0.0.2:2380", "http://10.0.0.3:2380"]);
    let same = "a=http://10.0.0.1:2380,b=http://10.0.0.1:2380";
    assert_eq!(
        refused(&["--name=a", own, &format!("--initial-cluster={same}")]),
        (1, format!("initial cluster {same} has duplicate url"))
    );
}

#[test]
fn the_initial_cluster_names_this_member_and_its_urls() {
    assert_eq!(
        refused(&["--name=a", "--initial-cluster=b=http://localhost:2380"]),
        (1, r#"couldn't find local name "a" in the initial cluster configuration"#.to_owned())
    );
    assert_eq!(
        refused(&["--initial-cluster=default=http://10.0.0.1:2380"]).1,
        "--initial-cluster has default=http://10.0.0.1:2380 but missing from \
         --initial-advertise-peer-urls=http://localhost:2380"
    );
    assert_eq!(start(&["--name=a"], &[]).server.name, "a", "a name alone makes its own cluster");
    let moved = ["--name=a", "--initial-advertise-peer-urls=http://10.0.0.1:2380"];
    assert_eq!(start(&moved, &[]).server.initial_advertise_peer_urls[0].to_string(), "http://10.0.0.1:2380");
}

#[test]
fn the_environment_gives_what_the_command_line_does_not() {
    let start = start(&["--name=m"], &[("ETCD_QUOTA_BACKEND_BYTES", "1024"), ("ETCD_PRE_VOTE", "false")]);
    assert_eq!((start.server.quota_backend_bytes, start.server.pre_vote), (Some(1024), false));
    assert!(start.notices.iter().any(|notice| notice.message == "recognized and used environment variable"
        && notice.fields
            == [("variable-name", "ETCD_PRE_VOTE".to_owned()), ("variable-value", "false".to_owned())]));
}

#[test]
fn a_variable_that_a_flag_shadows_is_an_error() {
    let error = invoke(&["--name=m"], &[("ETCD_NAME", "n")]).unwrap_err();
    assert_eq!(
        (error.exit_code, error.text.as_str()),
        (
            1,
            "conflicting environment variable is shadowed by corresponding command-line flag (either unset \
             environment variable or disable flag))"
        )
    );
    assert_eq!(error.fields, [("environment-variable", "ETCD_NAME".to_owned())]);
}

#[test]
fn wrong_unknown_and_empty_variables() {
    let error = invoke(&[], &[("ETCD_HEARTBEAT_INTERVAL", "x")]).unwrap_err();
    assert_eq!(
        (error.exit_code, error.text.as_str()),
        (1, r#"invalid value "x" for ETCD_HEARTBEAT_INTERVAL: parse error"#)
    );
    let start = start(&["--name=m"], &[("ETCD_NOPE", "1"), ("ETCD_VERSION", "3"), ("ETCD_DATA_DIR", "")]);
    let notice = |message: &str| start.notices.iter().find(|notice| notice.message == message).cloned();
    assert_eq!(
        notice("unrecognized environment variable").unwrap().fields,
        [("environment-variable", "ETCD_NOPE=1".to_owned())]
    );
    assert!(notice("cannot set special environment variable").is_some());
}

fn from_file(yaml: &str) -> Result<Start, ConfigError> {
    let mut settings = Settings::default();
    let mut notices = Vec::new();
    file::read(yaml, &mut settings, &mut notices)?;
    let (server, log) = resolve(&settings, &mut notices)?;
    Ok(Start { server, log, notices })
}

#[test]
fn the_file_has_the_names_of_the_flags() {
    let start = from_file(
        "name: m1
data-dir: /var/lib/m1
listen-client-urls: http://0.0.0.0:2379,http://[::1]:2379
advertise-client-urls: http://10.0.0.1:2379
heartbeat-interval: 50
quota-backend-bytes: -1
grpc-keepalive-interval: 30000000000
socket-options:
  reuse-port: true
log-outputs: [stdout, /var/log/m1.log]
feature-gates: LeaseCheckpoint=true,FastLeaseKeepAlive=false
auto-compaction-mode: revision
auto-compaction-retention: \"1000\"
nonsense: 1
",
    )
    .unwrap();
    let server = &start.server;
    assert_eq!(server.storage, Storage::Directory(PathBuf::from("/var/lib/m1")));
    assert_eq!(server.listen_client_urls.len(), 2);
    assert_eq!(server.heartbeat_interval, Duration::from_millis(50));
    assert_eq!(server.quota_backend_bytes, None);
    assert_eq!(server.keepalive.interval, Some(Duration::from_secs(30)));
    assert!(server.socket.reuse_port && !server.socket.reuse_address);
    assert!(server.features.enabled(Feature::LeaseCheckpoint));
    assert!(!server.features.enabled(Feature::FastLeaseKeepAlive));
    assert_eq!(server.auto_compaction, AutoCompaction::Revision(1000));
    assert_eq!(start.log.outputs.len(), 2);
    assert_eq!(warnings(&start), ["unrecognized key in the configuration file"]);
}

#[test]
fn the_file_is_refused_where_it_is_wrong() {
    let text = |yaml: &str| from_file(yaml).expect_err("this is refused").text;
    assert_eq!(
        text("heartbeat-interval: soon"),
        r#""heartbeat-interval" in the configuration file is not a whole number"#
    );
    assert_eq!(
        text("grpc-keepalive-interval: 30s"),
        r#""grpc-keepalive-interval" in the configuration file is not a whole number of nanoseconds"#
    );
    assert_eq!(text("peer-transport-security: yes please"), "invalid peer-transport-security");
    assert_eq!(
        text("client-transport-security:\n  cert-file: a.crt\n"),
        "KeyFile and CertFile must both be present[key: , cert: a.crt]"
    );
    assert!(text("- a\n- b\n").contains("not a mapping"));
}

#[test]
fn a_file_replaces_flags_and_environment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenure.yaml");
    std::fs::write(&path, "name: from-file\n").unwrap();
    let path = path.to_str().unwrap();
    for (arguments, variables) in [
        (["--config-file", path, "--name", "from-flag"].as_slice(), [("ETCD_PRE_VOTE", "false")].as_slice()),
        (&["--name", "from-flag"], &[("ETCD_CONFIG_FILE", path), ("ETCD_NAME", "from-environment")]),
    ] {
        let start = start(arguments, variables);
        assert_eq!((start.server.name.as_str(), start.server.pre_vote), ("from-file", true));
    }
    let missing = invoke(&["--config-file", "/nonexistent/tenure.yaml"], &[]).unwrap_err();
    assert_eq!(missing.exit_code, 1);
    assert!(missing.text.starts_with("open /nonexistent/tenure.yaml: "), "{}", missing.text);
}

#[test]
fn zero_means_the_default_where_etcd_says_so() {
    let server = start(&["--quota-backend-bytes=0", "--compaction-batch-limit=0"], &[]).server;
    assert_eq!(server.quota_backend_bytes, Some(2 << 30));
    assert_eq!(server.compaction_batch_limit, 1_000);
    assert_eq!(
        start(&["--watch-progress-notify-interval=1ms"], &[])
            .server
            .watch_progress_notify_interval
            .as_millis(),
        100
    );
    assert_eq!(start(&["--grpc-keepalive-timeout=0"], &[]).server.keepalive.interval, None);
}

#[test]
fn what_has_no_effect_is_said() {
    let start = start(&["--name=m", "--data-dir=d", "--memory-mlock", "--max-wals=5", "--v"], &[]);
    assert_eq!(
        warnings(&start),
        ["flag is no longer supported - ignoring", "flag has no effect in Tenure"],
        "a default that is given asks for nothing"
    );
}

#[test]
fn help_and_version() {
    assert_eq!(help::version().lines().next(), Some("etcd Version: 3.7.1"));
    let text = help::flags();
    for flag in FLAGS {
        assert!(text.contains(&format!("  --{}", flag.name)), "{}", flag.name);
        assert!(!flag.help.is_empty());
    }
    assert!(text.contains("  --data-dir '${name}.tenure'\n"));
    assert!(text.contains("  --pre-vote=true\n"));
    assert!(text.contains("CompactHashCheck=true|false (ALPHA - default=false)"));
    assert!(FLAGS.iter().filter(|flag| flag.support == Support::Refused).count() < 40);
}

#[test]
fn tls_flags_become_the_tls_of_either_side() {
    let arguments = [
        "--cert-file=a.crt",
        "--key-file=a.key",
        "--trusted-ca-file=ca.crt",
        "--client-cert-auth",
        "--client-crl-file=a.crl",
        "--client-cert-allowed-hostname=x.example,y.example",
        "--peer-cert-file=p.crt",
        "--peer-key-file=p.key",
        "--peer-client-cert-file=d.crt",
        "--peer-client-key-file=d.key",
        "--peer-trusted-ca-file=p-ca.crt",
        "--peer-cert-allowed-cn=m1,m2",
        "--peer-crl-file=p.crl",
        "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "--tls-min-version=TLS1.2",
        "--tls-max-version=TLS1.2",
    ];
    let start = start(&arguments, &[]);
    let (client, peer) = (start.server.client_tls.clone().unwrap(), start.server.peer_tls.clone().unwrap());
    let expected = TlsConfig {
        trusted_ca: Some("ca.crt".into()),
        client_cert_auth: true,
        crl: Some("a.crl".into()),
        allowed_hostnames: vec!["x.example".to_owned(), "y.example".to_owned()],
        cipher_suites: vec!["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".parse().unwrap()],
        version_max: TlsVersion::V1_2,
        ..TlsConfig::new(CertificateFiles::new("a.crt", "a.key"))
    };
    assert_eq!(client, expected);
    let expected = TlsConfig {
        dial_identity: Some(CertificateFiles::new("d.crt", "d.key")),
        trusted_ca: Some("p-ca.crt".into()),
        client_cert_auth: false,
        crl: Some("p.crl".into()),
        allowed_common_names: vec!["m1".to_owned(), "m2".to_owned()],
        allowed_hostnames: Vec::new(),
        checks_address: true,
        identity: CertificateFiles::new("p.crt", "p.key"),
        ..expected
    };
    assert_eq!(peer, expected);
    let ignoring = warnings(&start);
    for text in [
        "scheme is http or unix while key and cert files are present; ignoring key and cert files",
        "scheme is http or unix while --client-cert-auth is enabled; ignoring client cert auth for this URL",
        "scheme is HTTP while key and cert files are present; ignoring key and cert files",
    ] {
        assert!(ignoring.contains(&text), "{ignoring:#?}");
    }
}

#[test]
fn generated_certificates_are_in_the_data_directory() {
    let both =
        start(&["--auto-tls", "--peer-auto-tls", "--data-dir=d", "--self-signed-cert-validity=3"], &[])
            .server;
    let (client, peer) = (both.client_tls.unwrap(), both.peer_tls.unwrap());
    assert!(client.is_generated && peer.is_generated);
    assert_eq!(
        client.identity,
        CertificateFiles::new("d/fixtures/client/cert.pem", "d/fixtures/client/key.pem")
    );
    assert_eq!(peer.identity.key, PathBuf::from("d/fixtures/peer/key.pem"));
    assert_eq!(both.self_signed_cert_validity_years, 3);
    let given = start(&["--auto-tls", "--cert-file=a.crt", "--key-file=a.key"], &[]);
    assert!(!given.server.client_tls.clone().unwrap().is_generated);
    assert!(warnings(&given).contains(&"ignoring client auto TLS since certs given"));
}

#[test]
fn tls_flags_that_contradict_each_other_are_refused() {
    let files = ["--cert-file=a.crt", "--key-file=a.key"];
    let peer = ["--peer-cert-file=a.crt", "--peer-key-file=a.key", "--peer-trusted-ca-file=ca.crt"];
    let cases: [(&[&str], &[&str], &str); 13] = [
        (&["--key-file=a.key"], &[], "KeyFile and CertFile must both be present[key: a.key, cert: ]"),
        (
            &files,
            &["--client-cert-file=c"],
            "ClientKeyFile and ClientCertFile must both be present or both absent",
        ),
        (&files, &["--client-cert-auth"], "--client-cert-auth needs --trusted-ca-file"),
        (&files, &["--client-crl-file=x"], "--client-crl-file needs --trusted-ca-file"),
        (
            &files,
            &["--client-cert-allowed-hostname=x"],
            "--client-cert-allowed-hostname needs --trusted-ca-file",
        ),
        (&["--auto-tls"], &["--client-cert-auth"], "--client-cert-auth needs --trusted-ca-file"),
        (&["--auto-tls"], &["--trusted-ca-file=x"], "--trusted-ca-file cannot be used with --auto-tls"),
        (&["--auto-tls"], &["--self-signed-cert-validity=0"], "selfSignedCertValidity is invalid"),
        (&["--auto-tls"], &["--self-signed-cert-validity=1001"], "must be at most 1000 years"),
        (
            &peer,
            &["--peer-cert-allowed-cn=x", "--peer-cert-allowed-hostname=y"],
            r#"AllowedCN and AllowedHostname are mutually exclusive (cn=["x"], hostname=["y"])"#,
        ),
        (&["--cipher-suites=TLS_RSA_WITH_RC4_128_SHA"], &[], "is not supported by Tenure"),
        (
            &["--cipher-suites=TLS_AES_128_GCM_SHA256"],
            &["--tls-max-version=TLS1.2"],
            "--cipher-suites names suites of TLS1.3 alone",
        ),
        (
            &["--listen-peer-urls=https://127.0.0.1:1"],
            &[],
            "cannot listen on TLS for https://127.0.0.1:1: KeyFile and CertFile are not presented",
        ),
    ];
    for (some, more, expected) in cases {
        let (code, text) = refused(&[some, more].concat());
        assert!(code == 1 && text.contains(expected), "{some:?} {more:?}: {text}");
    }
}
