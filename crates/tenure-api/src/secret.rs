//! How messages with a secret are shown: without it. A password, a hash or a token must not get into a log because somebody logs a
//! message.

use crate::{authpb, etcdserverpb as pb};
use std::fmt;

macro_rules! hidden {
    ($($message:ty { $($field:ident),* })*) => {
        $(impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let name = stringify!($message).rsplit("::").next().unwrap_or_default().trim();
                f.debug_struct(name)$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        })*
    };
}

hidden! {
    authpb::User { name, roles, options }
    pb::AuthenticateRequest { name }
    pb::AuthenticateResponse { header }
    pb::AuthUserAddRequest { name, options }
    pb::AuthUserChangePasswordRequest { name }
    pb::InternalAuthenticateRequest { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a8_cve_2021_28235_no_message_shows_its_secret() {
        let secret = || "sesame".to_owned();
        let name = || "alice".to_owned();
        let user = authpb::User { name: "alice".into(), password: "sesame".into(), ..Default::default() };
        let request = pb::InternalRaftRequest {
            authenticate: Some(pb::InternalAuthenticateRequest {
                name: name(),
                password: secret(),
                simple_token: secret(),
            }),
            auth_user_add: Some(pb::AuthUserAddRequest {
                name: name(),
                password: secret(),
                hashed_password: secret(),
                options: None,
            }),
            auth_user_change_password: Some(pb::AuthUserChangePasswordRequest {
                name: name(),
                password: secret(),
                hashed_password: secret(),
            }),
            ..Default::default()
        };
        let log_in = pb::AuthenticateRequest { name: name(), password: secret() };
        let logged_in = pb::AuthenticateResponse { header: None, token: secret() };
        for shown in
            [format!("{user:?}"), format!("{request:?}"), format!("{log_in:?}"), format!("{logged_in:?}")]
        {
            assert!(!shown.contains("sesame"), "{shown}");
        }
        assert!(format!("{log_in:?}").starts_with("AuthenticateRequest { name: \"alice\""), "{log_in:?}");
    }
}
