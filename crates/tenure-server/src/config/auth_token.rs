//! `--auth-token`: the kind of token and its options.

use super::{ConfigError, Notice, value::parse_span};
use crate::auth::SignMethod;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// The life of a signed token when none is given.
const JWT_TTL_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// What users get when they log in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AuthToken {
    /// Random tokens that members hold in memory.
    #[default]
    Simple,
    /// Signed tokens that members need not hold.
    Jwt(JwtOptions),
    /// Nobody gets any: users are those whom a certificate names.
    None,
}

/// How tokens are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtOptions {
    /// The method.
    pub sign_method: SignMethod,
    /// The file with the public key, in PEM; without it the public key is taken from the private one.
    pub public_key: Option<PathBuf>,
    /// The file with the private key, in PEM, or with the bytes of the secret for `HS256` and its like; without it the member verifies
    /// tokens and makes none.
    pub private_key: Option<PathBuf>,
    /// How long a token lives.
    pub ttl: Duration,
}

impl AuthToken {
    /// Reads the value of the flag: `simple`, or `jwt,NAME=VALUE,...` with the names `sign-method`, `pub-key`, `priv-key` and `ttl`; or
    /// nothing at all, and then there are no tokens.
    ///
    /// # Errors
    /// etcd's text, whatever is wrong, except that a wrong option is named.
    pub fn parse(text: &str, notices: &mut Vec<Notice>) -> Result<Self, ConfigError> {
        let wrong = |why: String| ConfigError::invalid(format!("auth: invalid auth options ({why})"));
        let mut parts = text.split(',');
        let kind = parts.next().unwrap_or_default();
        let mut options = BTreeMap::new();
        for part in parts {
            let pair = part.split_once('=').filter(|(_, value)| !value.contains('='));
            let (name, value) =
                pair.ok_or_else(|| wrong(format!("{part:?} in --auth-token is not NAME=VALUE")))?;
            if options.insert(name, value).is_some() {
                return Err(wrong(format!("--auth-token has {name} twice")));
            }
        }
        match kind {
            "simple" => Ok(Self::Simple),
            "jwt" => Self::jwt(&mut options, notices).map_err(wrong),
            "" => {
                notices.push(Notice::warn(
                    "--auth-token is empty: nobody can log in with a password; users are those whom a client certificate names",
                ));
                Ok(Self::None)
            }
            _ => Err(wrong(format!("--auth-token must begin with simple or jwt, not {kind:?}"))),
        }
    }

    fn jwt(options: &mut BTreeMap<&str, &str>, notices: &mut Vec<Notice>) -> Result<Self, String> {
        let mut take = |name| options.remove(name).filter(|value| !value.is_empty());
        let ttl = match take("ttl") {
            Some(text) => parse_span(text)?.duration(),
            None => JWT_TTL_DEFAULT,
        };
        if ttl.is_zero() {
            return Err(
                "the ttl of --auth-token must be more than 0: every token would have ended".to_owned()
            );
        }
        let method = take("sign-method").unwrap_or_default();
        let sign_method =
            method.parse().map_err(|()| format!("--auth-token has no known sign-method: {method:?}"))?;
        let public_key = take("pub-key").map(PathBuf::from);
        let private_key = take("priv-key").map(PathBuf::from);
        if !options.is_empty() {
            let keys = options.keys().copied().collect::<Vec<_>>().join(",");
            notices.push(Notice::warn("unknown JWT options").with("keys", keys));
        }
        Ok(Self::Jwt(JwtOptions { sign_method, public_key, private_key, ttl }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a5_options_of_signed_tokens() {
        let parse = |text: &str| AuthToken::parse(text, &mut Vec::new()).map_err(|error| error.to_string());
        let mut expected = JwtOptions {
            sign_method: SignMethod::RS256,
            public_key: Some("a.pub".into()),
            private_key: Some("a.key".into()),
            ttl: Duration::from_secs(600),
        };
        assert_eq!(
            parse("jwt,pub-key=a.pub,priv-key=a.key,sign-method=RS256,ttl=10m"),
            Ok(AuthToken::Jwt(expected.clone()))
        );
        (expected.private_key, expected.ttl) = (None, Duration::from_secs(300));
        assert_eq!(parse("jwt,sign-method=RS256,pub-key=a.pub,priv-key="), Ok(AuthToken::Jwt(expected)));
        assert_eq!(parse("simple"), Ok(AuthToken::Simple));
        assert_eq!(
            parse("simple,some=option"),
            Ok(AuthToken::Simple),
            "as in etcd, which has no option for it"
        );
        for (text, why) in [
            (",", "is not NAME=VALUE"),
            ("nop", "must begin with simple or jwt"),
            ("JWT", "must begin with simple or jwt"),
            ("jwt", "no known sign-method: \"\""),
            ("jwt,sign-method=none", "no known sign-method: \"none\""),
            ("jwt,sign-method", "is not NAME=VALUE"),
            ("jwt,sign-method=RS256,ttl=5", "time: missing unit in duration \"5\""),
            ("jwt,sign-method=RS256,ttl=0", "must be more than 0"),
            ("jwt,sign-method=RS256,ttl=-5m", "must be more than 0"),
            ("jwt,sign-method=RS256,sign-method=RS256", "twice"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("auth: invalid auth options"), "{text}: {error}");
            assert!(error.contains(why), "{text}: {error}");
        }
        let mut notices = Vec::new();
        assert!(AuthToken::parse("jwt,sign-method=EdDSA,pubkey=x", &mut notices).is_ok());
        assert_eq!(notices.len(), 1, "a name with a slip is told");
        assert_eq!(AuthToken::parse("", &mut notices).ok(), Some(AuthToken::None));
        assert_eq!(notices.len(), 2, "it is hardly meant");
    }
}
