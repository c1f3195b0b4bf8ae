use super::*;
use crate::command::PermissionKind;
use bytes::Bytes;

fn range(key: &'static str, end: &'static str) -> KeyRange {
    KeyRange::from_wire(Bytes::from_static(key.as_bytes()), Bytes::from_static(end.as_bytes()))
}

fn set(ranges: &[(&'static str, &'static str)]) -> RangeSet {
    RangeSet::of(&ranges.iter().map(|(key, end)| range(key, end)).collect::<Vec<_>>())
}

#[test]
fn a11_ranges_that_meet_or_touch_are_one() {
    let granted = set(&[("d", "g"), ("a", "c"), ("c", "d"), ("f", "k"), ("x", ""), ("x\0", "y")]);
    for (key, end) in [("a", ""), ("a", "k"), ("b", "j"), ("c", ""), ("jz", ""), ("x", "y"), ("x", "")] {
        assert!(granted.contains(&range(key, end)), "{key:?} {end:?}");
    }
    for (key, end) in [("a", "k\0"), ("k", ""), ("A", "b"), ("w", "y"), ("x", "y\0"), ("a", "\0"), ("j", "y")]
    {
        assert!(!granted.contains(&range(key, end)), "{key:?} {end:?}");
    }
}

#[test]
fn a11_an_open_range_goes_to_the_end() {
    let granted = set(&[("b", "d"), ("c", "\0")]);
    for (key, end) in [("b", "\0"), ("b", "zzz"), ("\u{7f}", ""), ("d", "\0")] {
        assert!(granted.contains(&range(key, end)), "{key:?} {end:?}");
    }
    assert!(!granted.contains(&range("a", "\0")) && !granted.contains(&range("\0", "\0")));
    assert!(set(&[("\0", "\0")]).contains(&KeyRange::everything()));
    assert!(granted.contains_key(b"b") && granted.contains_key(b"zz") && !granted.contains_key(b"a"));
}

#[test]
fn a11_of_a_range_without_keys_the_start_counts() {
    let granted = set(&[("b", "f")]);
    for (key, end) in [("d", "c"), ("d", "b"), ("d", "a"), ("b", "b")] {
        assert!(granted.contains(&range(key, end)), "{key:?} {end:?}");
    }
    for (key, end) in [("f", "c"), ("g", "f"), ("a", "A")] {
        assert!(!granted.contains(&range(key, end)), "{key:?} {end:?}");
    }
    assert_eq!(set(&[("c", "b"), ("", "\0"), ("", "")]), RangeSet::default(), "they have no key");
}

#[test]
fn users_and_roles_come_back_from_their_bytes() {
    let permission = |kind| Permission { kind, range: range("k", "\0") };
    let role = AuthRole {
        name: "r".into(),
        permissions: vec![permission(PermissionKind::ReadWrite), permission(PermissionKind::Unknown(7))],
    };
    assert_eq!(AuthRole::decode(role.encode().into()), Some(role));
    let user = AuthUser {
        name: "u".into(),
        password_hash: crate::types::Secret(Bytes::from_static(b"$2a$")),
        roles: vec!["r".into()],
        no_password: false,
    };
    assert_eq!(user.encode(), b"\x0a\x01u\x12\x04$2a$\x1a\x01r\x22\x00");
    assert_eq!(AuthUser::decode(user.encode().into()), Some(user.clone()));
    assert!(!format!("{user:?}").contains("$2a$"), "{user:?}");
    assert_eq!(AuthUser::decode(Bytes::from_static(b"\x0a\x01\xff")), None, "the name is no text");
}
