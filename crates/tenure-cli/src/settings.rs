//! The flags that all commands share, and the variables of the environment that stand for them.

use crate::{
    command_line::{Call, Flag, Kind},
    exit::{Exit, Failure},
    go::{duration, number},
    log::{self, Level},
    output::{Format, Printer},
    password,
    secure::Secure,
};
use std::{ffi::OsString, fmt, time::Duration};
use tenure_client::{Client, ClientConfig, Error};

/// All of them.
pub static FLAGS: &[Flag] = &[
    Flag::new(
        "auth-jwt-token",
        Kind::Text,
        "authenticate with this JSON Web Token; excludes --user and --password",
    ),
    Flag::new(
        "cacert",
        Kind::Text,
        "trust servers whose certificate this bundle of CA certificates vouches for",
    ),
    Flag::new("cert", Kind::Text, "certificate of this client, for servers that ask for one"),
    Flag::new(
        "command-timeout",
        Kind::Duration,
        "how long a command may take; watching, locking and the like excepted",
    )
    .default("5s"),
    Flag::new("debug", Kind::Bool, "print the settings in force to standard error"),
    Flag::new("dial-timeout", Kind::Duration, "how long connecting to an endpoint may take").default("2s"),
    Flag::new("discovery-srv", Kind::Text, "domain whose SRV records name the endpoints").short('d'),
    Flag::new("discovery-srv-name", Kind::Text, "service name in those SRV records"),
    Flag::new("endpoints", Kind::Texts, "servers to ask, separated by commas").default("127.0.0.1:2379"),
    Flag::new("hex", Kind::Bool, "print keys, values and ids in hexadecimal"),
    Flag::new("insecure-discovery", Kind::Bool, "accept SRV records without TLS").default("true"),
    Flag::new("insecure-skip-tls-verify", Kind::Bool, "trust any server certificate (for tests only)"),
    Flag::new("insecure-transport", Kind::Bool, "connect without TLS").default("true"),
    Flag::new(
        "keepalive-time",
        Kind::Duration,
        "how long a silent connection is trusted before it is probed (10s at least)",
    )
    .default("2s"),
    Flag::new("keepalive-timeout", Kind::Duration, "how long a probe may stay without answer").default("6s"),
    Flag::new("key", Kind::Text, "private key of this client's certificate"),
    Flag::new("max-recv-bytes", Kind::Int, "largest answer accepted, in bytes (0: 2 GiB - 1)"),
    Flag::new("max-request-bytes", Kind::Int, "largest request sent, in bytes (0: 2 MiB)"),
    Flag::new("password", Kind::Text, "password, if --user has none"),
    Flag::new("user", Kind::Text, "user to authenticate as, as name[:password]"),
    Flag::new("write-out", Kind::Text, "format of answers: fields, json, protobuf, simple or table")
        .short('w')
        .default("simple"),
];

/// What somebody is known by.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A token that he has already.
    Token(String),
    /// A name and a password, for which servers give a token.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::Token(_) => f.write_str("Token"),
            Credentials::Password { user, .. } => write!(f, "Password of {user}"),
        }
    }
}

/// What the shared flags say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where servers are, as they were given.
    pub endpoints: Vec<String>,
    /// How long connecting to an endpoint may take.
    pub dial_timeout: Duration,
    /// How long a command may take.
    pub command_timeout: Duration,
    /// Servers are waited for, and their answers, as long as it takes.
    pub is_patient: bool,
    /// How long a silent connection is trusted.
    pub keepalive_time: Duration,
    /// How long a probe may stay without answer.
    pub keepalive_timeout: Duration,
    /// Largest request sent.
    pub request_bytes_max: usize,
    /// Largest answer accepted.
    pub response_bytes_max: usize,
    /// How answers are printed.
    pub printer: Printer,
    /// Who asks, if it is said.
    pub credentials: Option<Credentials>,
    /// TLS.
    pub secure: Secure,
}

/// Flags whose values `--debug` does not show, or only in part.
const SECRETS: [&str; 3] = ["auth-jwt-token", "password", "user"];
const HIDDEN: &str = "<hidden>";

const PREFIX: &str = "ETCDCTL_";

/// Variables with this prefix that stand for no flag: read by `watch`, or of no meaning any more.
const OTHER_VARIABLES: [&str; 3] = ["ETCDCTL_API", "ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"];

/// The variable that stands for a flag: `dial-timeout` is `ETCDCTL_DIAL_TIMEOUT`.
fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase().replace('-', "_"))
}

impl Settings {
    /// What a call's flags and the environment say.
    ///
    /// # Errors
    /// A variable contradicts a flag or is malformed; a flag asks for what is not there.
    pub fn of(call: &Call) -> Result<Self, Failure> {
        check_environment(call)?;
        let values = Values { call };
        values.refuse_unsupported()?;
        let settings = Settings {
            endpoints: values.endpoints()?,
            dial_timeout: values.duration("dial-timeout")?,
            command_timeout: values.duration("command-timeout")?,
            is_patient: false,
            keepalive_time: values.duration("keepalive-time")?,
            keepalive_timeout: values.duration("keepalive-timeout")?,
            request_bytes_max: values.bytes("max-request-bytes", 2 * 1024 * 1024)?,
            response_bytes_max: values.bytes("max-recv-bytes", i32::MAX as usize)?,
            printer: Printer::new(Format::parse(&values.text("write-out")?)?, values.flag("hex")?),
            credentials: values.credentials()?,
            secure: values.secure()?,
        };
        if values.flag("debug")? {
            for flag in FLAGS {
                eprintln!("{}={}", variable(flag.name), values.shown(flag)?);
            }
        }
        Ok(settings)
    }

    /// The same without `--command-timeout`.
    #[must_use]
    pub fn patient(self) -> Self {
        Settings { is_patient: true, ..self }
    }

    /// The same for one of the endpoints.
    #[must_use]
    pub fn at(&self, endpoint: &str) -> Self {
        Settings { endpoints: vec![endpoint.to_owned()], ..self.clone() }
    }

    /// Waits for something as long as a command may take.
    ///
    /// # Errors
    /// It fails, or takes longer.
    pub async fn in_time<T>(
        &self,
        call: impl Future<Output = tenure_client::Result<T>>,
    ) -> tenure_client::Result<T> {
        let limit = self.command_timeout;
        tokio::time::timeout(limit, call).await.unwrap_or(Err(Error::Timeout { waited: limit }))
    }

    /// A client. A user is logged in; otherwise the first call finds out whether there is a server.
    ///
    /// # Errors
    /// There is no endpoint, or one is malformed; user or password is wrong, or nobody tells in time.
    pub async fn connect(&self) -> Result<Client, Failure> {
        if self.endpoints.is_empty() {
            return Err(Failure::new(Exit::BadConnection, "etcdclient: no available endpoints"));
        }
        let config = ClientConfig::new(self.endpoints.iter().map(|name| self.secure.endpoint(name)))
            .dial_timeout(self.dial_timeout)
            .tls(self.secure.config()?)
            .keep_alive(self.keepalive_time, self.keepalive_timeout)
            .request_bytes_max(self.request_bytes_max)
            .response_bytes_max(self.response_bytes_max);
        let config = match self.is_patient {
            true => config.connection_wait(Duration::MAX),
            false => config.connection_wait(self.command_timeout).request_timeout(self.command_timeout),
        };
        let config = match &self.credentials {
            Some(Credentials::Token(token)) => config.token(token),
            // etcdctl sends no user without a password.
            Some(Credentials::Password { user, password }) if !password.is_empty() => {
                config.user(user, password)
            }
            _ => config,
        };
        let client = Client::connect_lazy(config).map_err(Failure::bad_args)?;
        let logged_in = client.log_in().await;
        logged_in.map_err(|error| Failure::from(error).with_exit(Exit::BadConnection))?;
        Ok(client)
    }
}

/// A variable and a flag of the same name contradict each other, even if their values agree: the process ends. Variables
/// that mean nothing are told.
fn check_environment(call: &Call) -> Result<(), Failure> {
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    variables.sort();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || OTHER_VARIABLES.contains(&&*name) {
            continue;
        }
        match FLAGS.iter().find(|flag| variable(flag.name) == name) {
            Some(flag) if call.is_set(flag.name) => {
                let message = "conflicting environment variable is shadowed by corresponding command-line flag \
                               (either unset environment variable or disable flag))";
                log::line(Level::Fatal, message, &[("environment-variable", &name)]);
                return Err(Failure::told(Exit::Error));
            }
            Some(_) => {}
            None => {
                let pair = format!("{name}={}", value.to_string_lossy());
                log::line(
                    Level::Warn,
                    "unrecognized environment variable",
                    &[("environment-variable", &pair)],
                );
            }
        }
    }
    Ok(())
}

/// The values of shared flags: from the command line, else from the environment, else the default.
struct Values<'a> {
    call: &'a Call,
}

impl Values<'_> {
    /// The variable, if it is set and not empty.
    fn environment(name: &str) -> Option<String> {
        std::env::var(variable(name)).ok().filter(|value| !value.is_empty())
    }

    fn default(name: &str) -> &'static str {
        FLAGS.iter().find(|flag| flag.name == name).map(|flag| flag.default).unwrap_or_default()
    }

    /// The value from the environment or the default, read by `parse`.
    fn other<T>(name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Failure> {
        let value = Self::environment(name).unwrap_or_else(|| Self::default(name).to_owned());
        parse(&value).map_err(|reason| {
            Failure::bad_args(format!("invalid value \"{value}\" for {}: {reason}", variable(name)))
        })
    }

    fn text(&self, name: &str) -> Result<String, Failure> {
        if self.call.is_set(name) {
            return Ok(self.call.text(name));
        }
        Self::other(name, |value| Ok(value.to_owned()))
    }

    fn flag(&self, name: &str) -> Result<bool, Failure> {
        if self.call.is_set(name) {
            return Ok(self.call.flag(name));
        }
        Self::other(name, |value| if value.is_empty() { Ok(false) } else { number::parse_bool(value) })
    }

    fn duration(&self, name: &str) -> Result<Duration, Failure> {
        match self.call.duration(name) {
            Some(duration) => Ok(duration),
            None => Self::other(name, duration::parse),
        }
    }

    fn int(&self, name: &str) -> Result<i64, Failure> {
        if self.call.is_set(name) {
            return Ok(self.call.int(name));
        }
        Self::other(name, |value| if value.is_empty() { Ok(0) } else { number::parse_int(value, 0) })
    }

    /// A limit in bytes; 0 and less mean `default`.
    fn bytes(&self, name: &str, default: usize) -> Result<usize, Failure> {
        let value = self.int(name)?;
        Ok(usize::try_from(value).ok().filter(|bytes| *bytes > 0).unwrap_or(default))
    }

    fn endpoints(&self) -> Result<Vec<String>, Failure> {
        let lists = match self.call.texts("endpoints") {
            Some(lists) => lists,
            None => vec![Self::other("endpoints", |value| Ok(value.to_owned()))?],
        };
        let endpoints = lists.iter().filter(|list| !list.is_empty()).flat_map(|list| list.split(','));
        Ok(endpoints.map(|endpoint| endpoint.trim().to_owned()).collect())
    }

    /// A token counts before a user. A password that is not given is asked for.
    fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        let (token, user) = (self.text("auth-jwt-token")?, self.text("user")?);
        if !token.is_empty() {
            return Ok(Some(Credentials::Token(token)));
        }
        if user.is_empty() {
            return Ok(None);
        }
        let password = self.text("password")?;
        let (user, password) = match user.split_once(':') {
            _ if !password.is_empty() => (user, password),
            Some((user, password)) => (user.to_owned(), password.to_owned()),
            None => (user, password::ask_for_user()?),
        };
        Ok(Some(Credentials::Password { user, password }))
    }

    /// An empty name of a file on the command line is a slip of a script.
    fn secure(&self) -> Result<Secure, Failure> {
        for name in ["cert", "key", "cacert"] {
            if self.call.is_set(name) && self.call.text(name).is_empty() {
                return Err(Failure::bad_args(format!("empty string is passed to --{name} option")));
            }
        }
        Ok(Secure {
            cert: self.text("cert")?,
            key: self.text("key")?,
            cacert: self.text("cacert")?,
            insecure_transport: self.flag("insecure-transport")?,
            skip_verify: self.flag("insecure-skip-tls-verify")?,
        })
    }

    /// What cannot be served must not be left out silently.
    fn refuse_unsupported(&self) -> Result<(), Failure> {
        // The name of a service without a domain has no meaning, and none is asked for.
        if self.text("discovery-srv")?.is_empty() {
            return Ok(());
        }
        let message = "SRV records are not supported by this version: name the servers with --endpoints";
        Err(Failure::bad_args(format!("--discovery-srv: {message}")))
    }

    /// A value as `--debug` prints it.
    fn shown(&self, flag: &Flag) -> Result<String, Failure> {
        Ok(match flag.kind {
            Kind::Bool => self.flag(flag.name)?.to_string(),
            Kind::Text if SECRETS.contains(&flag.name) => {
                let value = self.text(flag.name)?;
                let user = value.split_once(':').map(|(user, _)| user);
                match user.filter(|_| flag.name == "user") {
                    Some(user) => format!("{user}:{HIDDEN}"),
                    None if value.is_empty() || flag.name == "user" => value,
                    None => HIDDEN.to_owned(),
                }
            }
            Kind::Text => self.text(flag.name)?,
            Kind::Texts => format!("[{}]", self.endpoints()?.join(",")),
            Kind::Int | Kind::Uint => self.int(flag.name)?.to_string(),
            Kind::Duration => duration::format(self.duration(flag.name)?),
        })
    }
}
