//! CVE-2021-28235: no secret reaches a log at any level, an error, or a metric.

use crate::support::{guard, text};
use std::path::Path;
use std::process::Command;
use tenure_harness::{http, process::Server as Process};

/// A hash that a client brings, of the password `root`.
const HASH: &str = "JDJhJDEwJFpEcFoud2EwN3RoZ0xaa2VzM2RuUGVGeU45RU5JRVVVSDlnMVJHcHROUlJNd0dOSkwyMXpx";

/// Every method of Auth, so that it succeeds and so that it does not.
const CALLS: &[(&str, &str)] = &[
    ("Auth/AuthStatus", ""),
    ("Auth/UserAdd", r#"name: "bob" password: "plainpassword1""#),
    ("Auth/UserAdd", r#"name: "bob" password: "plainpassword1""#),
    ("Auth/UserAdd", r#"name: "carol" hashedPassword: "{hash}""#),
    ("Auth/UserAdd", r#"name: "" password: "plainpassword2""#),
    (
        "Auth/UserAdd",
        r#"name: "x" password: "plainpassword-that-is-longer-than-the-seventy-two-bytes-that-bcrypt-looks-at""#,
    ),
    ("Auth/UserChangePassword", r#"name: "bob" password: "plainpassword3""#),
    ("Auth/UserChangePassword", r#"name: "bob" hashedPassword: "{hash}""#),
    ("Auth/UserChangePassword", r#"name: "bob" hashedPassword: "plainpassword no base64""#),
    ("Auth/UserChangePassword", r#"name: "nobody" password: "plainpassword4""#),
    ("Auth/Authenticate", r#"name: "bob" password: "plainpassword5""#),
    ("Auth/Authenticate", r#"name: "nobody" password: "plainpassword6""#),
    ("Auth/Authenticate", r#"name: "bob" password: "root""#),
    ("Auth/UserGet", r#"name: "bob""#),
    ("Auth/UserList", ""),
    ("Auth/RoleAdd", r#"name: "role""#),
    ("Auth/RoleGrantPermission", r#"name: "role" perm { key: "k" }"#),
    ("Auth/RoleGet", r#"role: "role""#),
    ("Auth/RoleList", ""),
    ("Auth/UserGrantRole", r#"user: "bob" role: "role""#),
    ("Auth/UserRevokeRole", r#"name: "bob" role: "role""#),
    ("Auth/RoleRevokePermission", r#"role: "role" key: "k""#),
    ("Auth/RoleDelete", r#"role: "role""#),
    ("Auth/UserDelete", r#"name: "bob""#),
    ("KV/Range", r#"key: "a""#),
    ("KV/Put", r#"key: "a" value: "v""#),
    ("Lease/LeaseKeepAlive", "ID: 1"),
    ("Watch/Watch", r#"create_request { key: "a" }"#),
    ("Lock/Lock", r#"name: "z""#),
    ("Auth/AuthEnable", ""),
    ("Auth/AuthDisable", ""),
    ("Auth/AuthEnable", ""),
];

/// Calls everything as root, as alice, and with a wrong token, at debug level and with every request so slow that it is warned about.
async fn nothing_shows(auth_token: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let program = Path::new(env!("CARGO_BIN_EXE_tenured"));
    let outputs = format!("--log-outputs={}", log.display());
    let flags = [
        "--log-level=debug",
        &outputs,
        "--bcrypt-cost=4",
        "--warning-unary-request-duration=1ns",
        "--warning-apply-duration=1ns",
        auth_token,
    ]
    .map(str::to_owned);
    let server = Process::start(program, &directory.path().join("data"), &flags).await.expect("tenured");
    let channel = server.channel().await.expect("a channel");
    let (root, alice) = guard(&channel).await;
    let wrong = "secrettoken.1";
    // Of a signed token the part in the middle is no secret by itself, but the whole is.
    let secrets = ["plainpassword", "s password", HASH, "$2a$", wrong, &root, &alice];
    let clean = |what: &str, text: &str| {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} in {what}: {text}");
        }
    };
    for (method, request) in CALLS {
        for token in [wrong, &alice, &root] {
            let request = request.replace("{hash}", HASH);
            clean(method, &text(&channel, token, method, &request).await);
        }
    }
    let address = server.address();
    for target in ["/metrics", "/debug/vars", "/v3/auth/authenticate?password=plainpassword7"] {
        let answer = http::request(&address, "GET", target).await.expect("an answer");
        clean(target, &String::from_utf8_lossy(&answer.body));
    }
    drop(server);
    let log = std::fs::read_to_string(log).expect("a log");
    let must = [
        "authenticated a user",
        "invalid auth token",
        "added a user",
        "request stats",
        "apply request took too long",
    ];
    for line in must {
        assert!(log.contains(line), "{line}: otherwise little is seen here");
    }
    clean("the log", &log);
}

#[tokio::test]
async fn a8_a15_cve_2021_28235_no_log_at_any_level_shows_a_secret() {
    nothing_shows("--auth-token=simple").await;
}

#[tokio::test]
async fn a8_a15_cve_2021_28235_nor_with_signed_tokens() {
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth/testdata/es256.key");
    nothing_shows(&format!("--auth-token=jwt,sign-method=ES256,priv-key={}", key.display())).await;
}

/// The command line and the environment are logged when a member starts, and when it does not.
#[test]
fn a8_a_start_does_not_show_the_passwords_that_it_was_given() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "no directory").expect("a file");
    for flags in [&["--discovery-user=me:xyzzy", "--discovery-password", "xyzzy"][..], &[]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenured"));
        command.args(flags).arg(format!("--data-dir={}", file.join("data").display()));
        if flags.is_empty() {
            command.env("ETCD_DISCOVERY_PASSWORD", "xyzzy").env("ETCD_DISCOVERY_USER", "me:xyzzy");
            command.env("ETCD_DISCOVERY_PASSWRD", "xyzzy");
        }
        let ended = command.output().expect("it ran");
        let log = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && log.contains("Running: ") && log.contains("<hidden>"), "{log}");
        assert!(!log.contains("xyzzy"), "{log}");
    }
}
