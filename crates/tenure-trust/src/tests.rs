//! What is taken and refused here was tried with Go 1.26 (`crypto/tls` at both ends) before it was written down.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose as Usage,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, PKCS_RSA_SHA256, PKCS_RSA_SHA512,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A certificate with its key.
struct Made {
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// What is made of a certificate's parameters before it is signed.
type Change = fn(&mut CertificateParams);

fn anybody(_: &mut CertificateParams) {}

fn authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
}

fn expired(params: &mut CertificateParams) {
    params.not_after = (SystemTime::now() - DAY).into();
}

/// For `localhost`, signed by somebody or by itself.
fn make(name: &str, by: Option<&Made>, changes: &[Change]) -> Made {
    make_with(KeyPair::generate().unwrap(), name, by, changes)
}

fn make_with(key: KeyPair, name: &str, by: Option<&Made>, changes: &[Change]) -> Made {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (SystemTime::now() - 10 * DAY).into();
    params.not_after = (SystemTime::now() + 10 * DAY).into();
    params.is_ca = IsCa::ExplicitNoCa;
    for change in changes {
        change(&mut params);
    }
    let certificate = match by {
        Some(by) => params.signed_by(&key, &by.issuer),
        None => params.self_signed(&key),
    };
    Made { der: certificate.unwrap().der().clone(), issuer: Issuer::new(params, key) }
}

fn trusting(roots: &[&Made]) -> Trusted {
    let mut trusted = Trusted::default();
    for root in roots {
        trusted.add(&root.der).unwrap();
    }
    trusted
}

/// What clients and servers are told who show this: nothing if they are taken.
fn told(trusted: &Trusted, leaf: &Made, chain: &[&Made]) -> [Option<&'static str>; 2] {
    let (provider, now) = (Arc::new(aws_lc_rs::default_provider()), UnixTime::now());
    let chain: Vec<_> = chain.iter().map(|made| made.der.clone()).collect();
    let client = trusted.check_client(&leaf.der, &chain, now, &provider);
    let server = trusted.check_server(&leaf.der, &chain, &"localhost".try_into().unwrap(), now, &provider);
    [client, server].map(|checked| checked.err().map(|error| reason(&error)))
}

fn reason(error: &Error) -> &'static str {
    use CertificateError as C;
    match error {
        Error::InvalidCertificate(C::UnknownIssuer) => UNKNOWN,
        Error::InvalidCertificate(C::BadSignature) => FORGED,
        Error::InvalidCertificate(C::ExpiredContext { .. } | C::NotValidYetContext { .. }) => TIME,
        Error::InvalidCertificate(C::InvalidPurposeContext { .. }) => PURPOSE,
        Error::InvalidCertificate(C::NotValidForNameContext { .. }) => NAME,
        Error::InvalidCertificate(C::BadEncoding | C::Other(_)) => UNREADABLE,
        _ => panic!("{error:?}"),
    }
}

const UNKNOWN: &str = "unknown issuer";
const FORGED: &str = "signature of another key";
const TIME: &str = "expired or not yet valid";
const PURPOSE: &str = "another purpose";
const NAME: &str = "another name";
const UNREADABLE: &str = "not understood";

const TAKEN: [Option<&str>; 2] = [None, None];

fn refused(reason: &'static str) -> [Option<&'static str>; 2] {
    [Some(reason), Some(reason)]
}

#[test]
fn a_certificate_that_is_trusted_itself_is_taken_whoever_issued_it() {
    let somebody = make("somebody", None, &[authority]);
    for (what, by, changes) in [
        ("an authority", None, &[authority as Change][..]),
        ("nobody's authority", None, &[anybody]),
        ("one that does not say", None, &[|params| params.is_ca = IsCa::NoCa]),
        ("issued by somebody unknown", Some(&somebody), &[anybody]),
        ("issued by somebody unknown, and an authority", Some(&somebody), &[authority]),
        (
            "an authority for every purpose",
            None,
            &[authority, |params| {
                params.extended_key_usages = vec![Usage::Any];
            }],
        ),
    ] {
        let leaf = make("leaf", by, changes);
        assert_eq!(told(&trusting(&[&leaf]), &leaf, &[]), TAKEN, "{what}");
        let other = make("leaf", by, changes);
        let other = told(&trusting(&[&other]), &leaf, &[]);
        assert!(
            other == refused(UNKNOWN) || other == refused(FORGED),
            "{what}, another is trusted: {other:?}"
        );
    }
}

#[test]
fn a_certificate_that_is_trusted_itself_is_good_for_what_it_says() {
    let told = |changes: &[Change]| {
        let leaf = make("leaf", None, &[&[authority as Change], changes].concat());
        told(&trusting(&[&leaf]), &leaf, &[])
    };
    assert_eq!(told(&[]), TAKEN);
    assert_eq!(told(&[expired]), refused(TIME));
    assert_eq!(told(&[|params| params.not_before = (SystemTime::now() + DAY).into()]), refused(TIME));
    let server_only: Change = |params| params.extended_key_usages = vec![Usage::ServerAuth];
    assert_eq!(told(&[server_only]), [Some(PURPOSE), None]);
    assert_eq!(told(&[|params| params.extended_key_usages = vec![Usage::ClientAuth]]), [None, Some(PURPOSE)]);
    assert_eq!(told(&[|params| params.extended_key_usages = vec![Usage::CodeSigning]]), refused(PURPOSE));
    let elsewhere: Change = |params| {
        params.subject_alt_names =
            CertificateParams::new(vec!["elsewhere".into()]).unwrap().subject_alt_names;
    };
    assert_eq!(told(&[elsewhere]), [None, Some(NAME)]);
    assert_eq!(told(&[riddle]), refused(UNREADABLE));
}

/// Something that must be understood and is not.
fn riddle(params: &mut CertificateParams) {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
}

#[test]
fn an_authority_that_a_trusted_one_issued_is_taken() {
    let root = make("root", None, &[authority]);
    let trusted = trusting(&[&make("other", None, &[authority]), &root]);
    assert_eq!(told(&trusted, &make("leaf", Some(&root), &[authority]), &[]), TAKEN);
    assert_eq!(told(&trusted, &make("leaf", Some(&root), &[authority, expired]), &[]), refused(TIME));
    let server_only: Change = |params| params.extended_key_usages = vec![Usage::ServerAuth];
    assert_eq!(
        told(&trusted, &make("leaf", Some(&root), &[authority, server_only]), &[]),
        [Some(PURPOSE), None]
    );
    // Somebody else of that name, what he issued, and himself.
    let impostor = make("root", None, &[authority]);
    assert_eq!(told(&trusted, &make("leaf", Some(&impostor), &[authority]), &[]), refused(FORGED));
    assert_eq!(told(&trusted, &impostor, &[]), refused(FORGED));
    // The right one counts, whichever comes first.
    for roots in [[&root, &impostor], [&impostor, &root]] {
        assert_eq!(told(&trusting(&roots), &make("leaf", Some(&root), &[authority]), &[]), TAKEN);
    }
    let stranger = make("stranger", None, &[authority]);
    assert_eq!(told(&trusted, &make("leaf", Some(&stranger), &[authority]), &[&stranger]), refused(UNKNOWN));
    assert_eq!(told(&trusted, &stranger, &[]), refused(UNKNOWN));
}

#[test]
fn an_authority_may_have_signed_with_any_kind_of_key() {
    let kinds = [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256, &PKCS_RSA_SHA512];
    let roots = kinds.map(|kind| make_with(KeyPair::generate_for(kind).unwrap(), "root", None, &[authority]));
    for root in &roots {
        let leaf = make("leaf", Some(root), &[authority]);
        assert_eq!(told(&trusting(&[root]), &leaf, &[]), TAKEN);
        for other in roots.iter().filter(|other| other.der != root.der) {
            assert_eq!(told(&trusting(&[other]), &leaf, &[]), refused(FORGED));
        }
    }
}

#[test]
fn an_authority_whose_bytes_were_changed_is_refused() {
    let root = make("root", None, &[authority]);
    let mut leaf = make("leaf", Some(&root), &[authority]);
    let mut bytes = leaf.der.to_vec();
    let at = bytes.windows(9).position(|part| part == b"localhost").unwrap();
    bytes[at + 4] = b'L';
    leaf.der = bytes.into();
    assert_eq!(told(&trusting(&[&root]), &leaf, &[]), refused(FORGED));
}

/// Go takes those that are refused here; see `check_authority`.
#[test]
fn an_authority_below_others_or_below_one_of_some_names_is_not_taken() {
    let root = make("root", None, &[authority]);
    let between = make("between", Some(&root), &[authority]);
    let leaf = make("leaf", Some(&between), &[authority]);
    assert_eq!(told(&trusting(&[&root]), &leaf, &[&between]), refused(UNKNOWN));
    assert_eq!(told(&trusting(&[&root]), &make("leaf", Some(&between), &[anybody]), &[&between]), TAKEN);
    let constrained = make(
        "constrained",
        None,
        &[authority, |params| {
            let permitted_subtrees = vec![GeneralSubtree::DnsName("localhost".to_owned())];
            params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
        }],
    );
    let trusted = trusting(&[&constrained]);
    assert_eq!(told(&trusted, &make("leaf", Some(&constrained), &[authority]), &[]), refused(UNKNOWN));
    assert_eq!(told(&trusted, &make("leaf", Some(&constrained), &[anybody]), &[]), TAKEN);
}

/// Go takes the first, too.
#[test]
fn a_certificate_for_any_purpose_needs_no_chain() {
    let root = make("root", None, &[authority]);
    let any: Change = |params| params.extended_key_usages = vec![Usage::Any];
    let leaf = make("leaf", Some(&root), &[any]);
    assert_eq!(told(&trusting(&[&root]), &leaf, &[]), refused(PURPOSE));
    assert_eq!(told(&trusting(&[&root, &leaf]), &leaf, &[]), TAKEN);
    assert_eq!(told(&trusting(&[&root]), &make("leaf", Some(&root), &[authority, any]), &[]), TAKEN);
}

#[test]
fn who_is_trusted_vouches_only_as_an_authority_in_its_time_and_for_its_purpose() {
    let server_only: Change = |params| params.extended_key_usages = vec![Usage::ServerAuth];
    let cannot_sign: Change = |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    for (changes, expected) in [
        (&[authority as Change][..], TAKEN),
        (&[anybody], refused(UNKNOWN)),
        (&[|params| params.is_ca = IsCa::NoCa], refused(UNKNOWN)),
        (&[authority, cannot_sign], refused(UNKNOWN)),
        (&[authority, expired], refused(TIME)),
        (&[authority, server_only], [Some(PURPOSE), None]),
        (&[authority, riddle], refused(UNREADABLE)),
    ] {
        let root = make("root", None, changes);
        let trusted = trusting(&[&root]);
        assert_eq!(told(&trusted, &make("leaf", Some(&root), &[anybody]), &[]), expected);
        let below = told(&trusted, &make("leaf", Some(&root), &[authority]), &[]);
        // Whoever is not understood is not asked for his signature.
        let expected = if expected == refused(UNREADABLE) { refused(UNKNOWN) } else { expected };
        assert_eq!(below, expected);
        // Another of that name, good for everything, is of no help.
        let other = make("root", None, &[authority]);
        assert_ne!(told(&trusting(&[&other]), &make("leaf", Some(&root), &[anybody]), &[]), TAKEN);
    }
}

#[test]
fn an_authority_of_version_1_still_vouches() {
    let root = CertificateDer::from_pem_slice(
        b"-----BEGIN CERTIFICATE-----
MIIBFjCBvQIUPzim87LKjeIZhHp+7HyOxODcMyUwCgYIKoZIzj0EAwIwDTELMAkG
A1UEAwwCdjEwIBcNMjYxMTI2MTgzOTIwWhgPMjEyNjExMDIxODM5MjBaMA0xCzAJ
BgNVBAMMAnYxMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE0cMMEOlVu7qd7dzp
ZqMjC0sgSNtqGlTKKOp4g83RVum5Y3IKM22xlZtK2iIxvibRlRTXOZUN+o52P2QK
wJatHTAKBggqhkjOPQQDAgNIADBFAiArCut+6IyMlwb+VuZlT3HwddRmE0lUndDf
+5zaIK2tsQIhAMTSD+g8WNcL/Ygq3rK8B8akO3QZDJn7ghTPCY49ENbs
-----END CERTIFICATE-----",
    );
    let leaf = CertificateDer::from_pem_slice(
        b"-----BEGIN CERTIFICATE-----
MIIBljCCATygAwIBAgIUBvqZ7pTHNH4HS3+lqCAz49y2M9cwCgYIKoZIzj0EAwIw
DTELMAkGA1UEAwwCdjEwIBcNMjYxMTI2MTgzOTIwWhgPMjEyNjExMDIxODM5MjBa
MA8xDTALBgNVBAMMBGxlYWYwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT+RKLY
e6V1byn9KX6ph452SwW3PuCB2xclFtiBGxnWcdh2K6PFReDhM3RUKkOTapiGMRZV
5/NEviksNH0hS2Mgo3YwdDAJBgNVHRMEAjAAMBQGA1UdEQQNMAuCCWxvY2FsaG9z
dDAdBgNVHQ4EFgQUhFpFCWkTSaZCi/NuGMIYwrtzq58wMgYDVR0jBCswKaERpA8w
DTELMAkGA1UEAwwCdjGCFD84pvOyyo3iGYR6fux8jsTg3DMlMAoGCCqGSM49BAMC
A0gAMEUCIQDvZFWtz1D7USUAKZOzqiytfvrjdNLzDcdCUQXgD8nY9gIgBjr+uZhl
ZFnu6lhrHJ5smNA/E3Ml8jGwtiGZxygVuD0=
-----END CERTIFICATE-----",
    );
    let provider = Arc::new(aws_lc_rs::default_provider());
    let in_2030 = UnixTime::since_unix_epoch(Duration::from_secs(1_900_000_000));
    let mut trusted = Trusted::default();
    trusted.add(&root.unwrap()).unwrap();
    trusted.check_client(&leaf.unwrap(), &[], in_2030, &provider).unwrap();
}

#[test]
fn names_are_those_of_all_who_are_trusted() {
    let (root, leaf) = (make("root", None, &[authority]), make("leaf", None, &[anybody]));
    let subjects = trusting(&[&root, &leaf]).subjects();
    assert_eq!(subjects.len(), 2);
    assert!(subjects[1].as_ref().windows(4).any(|part| part == b"leaf"), "{subjects:?}");
}

#[test]
fn what_is_no_certificate_cannot_be_trusted() {
    let mut trusted = Trusted::default();
    assert!(trusted.add(&CertificateDer::from(b"nonsense".to_vec())).is_err());
    trusted.add_parsable([CertificateDer::from(b"nonsense".to_vec()), make("root", None, &[authority]).der]);
    assert_eq!(trusted.subjects().len(), 1);
    let leaf = make("leaf", None, &[anybody]);
    assert_eq!(told(&Trusted::default(), &leaf, &[]), refused(UNKNOWN));
}
