use super::*;
use SignMethod::{ES256, ES384, ES512, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
use std::path::Path;

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth/testdata").join(name)
}

fn jwt(sign_method: SignMethod, private: Option<&str>, public: Option<&str>) -> Result<Jwt, KeyError> {
    let (private_key, public_key) = (private.map(file), public.map(file));
    Jwt::new(&JwtOptions { sign_method, public_key, private_key, ttl: Duration::from_secs(60) })
}

fn alice() -> Identity {
    Identity { username: "alice".into(), auth_revision: 7 }
}

/// A token with these claims, signed as it should be.
fn signed(jwt: &Jwt, claims: &str) -> String {
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(format!(r#"{{"typ":"JWT","alg":"{}"}}"#, jwt.method.name())),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signed = URL_SAFE_NO_PAD.encode(jwt.keys.sign(message.as_bytes()).expect("signed"));
    format!("{message}.{signed}")
}

#[test]
fn a5_every_method_signs_and_verifies_with_either_key() {
    let methods = [
        (RS256, "rsa.key", "rsa.pub"),
        (RS384, "rsa-pkcs1.key", "rsa.pub"),
        (RS512, "rsa.key", "rsa.pub"),
        (PS256, "rsa.key", "rsa.pub"),
        (PS384, "rsa.key", "rsa.pub"),
        (PS512, "rsa-pkcs1.key", "rsa.pub"),
        (ES256, "es256.key", "es256.pub"),
        (ES256, "es256-sec1.key", "es256.pub"),
        (ES384, "es384.key", "es384.pub"),
        (ES384, "es384-sec1.key", "es384.pub"),
        (ES512, "es512.key", "es512.pub"),
        (ES512, "es512-sec1.key", "es512.pub"),
        (EdDSA, "ed25519.key", "ed25519.pub"),
    ];
    for (method, private, public) in methods {
        let whole = jwt(method, Some(private), Some(public)).expect(private);
        let token = whole.token(&alice(), NOW).expect("signed");
        let only_private = jwt(method, Some(private), None).expect(private);
        let only_public = jwt(method, None, Some(public)).expect(public);
        assert!(only_private.can_sign() && !only_public.can_sign());
        assert_eq!(only_public.token(&alice(), NOW), None);
        for verifier in [&whole, &only_private, &only_public] {
            assert_eq!(verifier.identity_of(token.as_bytes(), NOW), Some(alice()), "{method:?}");
        }
    }
    for method in [HS256, HS384, HS512] {
        let jwt = jwt(method, Some("es256.pub"), None).expect("any bytes are a secret");
        let token = jwt.token(&alice(), NOW).expect("signed");
        assert_eq!(jwt.identity_of(token.as_bytes(), NOW), Some(alice()), "{method:?}");
    }
}

#[test]
fn a5_a_file_with_curve_parameters_before_the_key_is_read() {
    assert!(jwt(ES256, Some("es256-with-parameters.key"), None).expect("read").can_sign());
}

#[test]
fn a5_a_certificate_is_a_public_key_too() {
    for (method, private, certificate) in [
        (RS256, "rsa.key", "rsa.crt"),
        (ES256, "es256.key", "es256.crt"),
        (EdDSA, "ed25519.key", "ed25519.crt"),
    ] {
        let token = jwt(method, Some(private), None).expect(private).token(&alice(), NOW).expect("signed");
        let verifier = jwt(method, None, Some(certificate)).expect(certificate);
        assert!(!verifier.can_sign());
        assert_eq!(verifier.identity_of(token.as_bytes(), NOW), Some(alice()), "{method:?}");
    }
    let other = jwt(RS256, None, Some("es256.crt")).err().expect("refused").to_string();
    assert!(other.contains("es256.crt holds no public key"), "{other}");
}

#[test]
fn a5_keys_that_do_not_fit_are_told() {
    let told = |method, private, public| jwt(method, private, public).err().expect("refused").to_string();
    for method in [RS256, ES512, EdDSA, HS256] {
        assert_eq!(told(method, None, None), "auth: missing key data");
    }
    assert_eq!(told(HS256, None, Some("rsa.pub")), "auth: missing key data");
    assert_eq!(
        told(ES256, Some("es256-with-parameters.key"), Some("es256.pub")),
        "auth: public and private keys don't match"
    );
    for (method, private) in [
        (RS256, "es256.key"),
        (ES256, "es384.key"),
        (ES256, "rsa.key"),
        (EdDSA, "rsa.key"),
        (RS256, "rsa.pub"),
    ] {
        assert!(told(method, Some(private), None).contains("holds no private key"), "{method:?} {private}");
    }
    for (method, public) in [
        (RS256, "es256.pub"),
        (RS256, "rsa.key"),
        (EdDSA, "rsa.pub"),
        (RS256, "README.md"),
        (ES512, "es256.pub"),
    ] {
        assert!(told(method, None, Some(public)).contains("holds no public key"), "{method:?} {public}");
    }
    assert!(told(RS256, Some("nothing.key"), None).contains("cannot read the key file"));
}

#[test]
fn a5_what_is_signed_otherwise_or_changed_is_refused() {
    let ours = jwt(RS256, Some("rsa.key"), None).expect("keys");
    let token = ours.token(&alice(), NOW).expect("signed");
    let [header, claims, signed] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let forged = URL_SAFE_NO_PAD.encode(r#"{"exp":1900000000,"revision":7,"username":"root"}"#);
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    // The public key as the secret of an HMAC: what the token says of its method must not count.
    let confused = jwt(HS256, Some("rsa.pub"), None).expect("keys").token(&alice(), NOW).expect("signed");
    let other_hash = jwt(RS512, Some("rsa.key"), None).expect("keys").token(&alice(), NOW).expect("signed");
    let other_padding =
        jwt(PS256, Some("rsa.key"), None).expect("keys").token(&alice(), NOW).expect("signed");
    for wrong in [
        String::new(),
        ".".into(),
        "..".into(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{header}.{forged}.{signed}"),
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signed}"),
        format!("{token}.{signed}"),
        format!("{token}="),
        confused,
        other_hash,
        other_padding,
    ] {
        assert_eq!(ours.identity_of(wrong.as_bytes(), NOW), None, "{wrong}");
    }
    assert_eq!(ours.identity_of(b"\xff.\xff.\xff", NOW), None);
    assert_eq!(ours.identity_of(token.as_bytes(), NOW), Some(alice()));
}

#[test]
fn a5_times_and_claims() {
    let ours = jwt(ES512, Some("es512.key"), None).expect("keys");
    let token = ours.token(&alice(), NOW).expect("signed");
    let second = Duration::from_secs(1);
    assert_eq!(ours.identity_of(token.as_bytes(), NOW + 59 * second), Some(alice()));
    assert_eq!(ours.identity_of(token.as_bytes(), NOW + 60 * second), None);
    let identity = |claims: &str| ours.identity_of(signed(&ours, claims).as_bytes(), NOW);
    let valid = [
        r#"{"username":"alice","revision":7}"#,
        r#"{"username":"alice","revision":7.0,"exp":1800000000.5,"aud":"x","iat":1}"#,
        r#"{"username":"alice","revision":7,"nbf":1800000000}"#,
    ];
    for claims in valid {
        assert_eq!(identity(claims), Some(alice()), "{claims}");
    }
    let invalid = [
        r#"{"username":"alice"}"#,
        r#"{"revision":7}"#,
        r#"{"username":7,"revision":7}"#,
        r#"{"username":"alice","revision":"7"}"#,
        r#"{"username":"alice","revision":7,"exp":"never"}"#,
        r#"{"username":"alice","revision":7,"exp":1800000000}"#,
        r#"{"username":"alice","revision":7,"nbf":1800000001}"#,
        "no json",
    ];
    for claims in invalid {
        assert_eq!(identity(claims), None, "{claims}");
    }
    let negative = identity(r#"{"username":"alice","revision":-7}"#);
    assert_eq!(negative.map(|identity| identity.auth_revision), Some(0), "which is nobody's");
}
