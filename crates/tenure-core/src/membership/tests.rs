use super::*;

fn cluster(members: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
    members
        .iter()
        .map(|(name, urls)| (String::from(*name), urls.split(',').map(String::from).collect()))
        .collect()
}

/// The ids that every etcd with default flags shows.
#[test]
fn the_default_cluster_has_the_ids_everybody_knows() {
    let members = Membership::bootstrap(&cluster(&[("default", "http://localhost:2380")]), "etcd-cluster")
        .expect("one member");
    assert_eq!(members[0].id, MemberId(0x8e9e_05c5_2164_694d));
    assert_eq!(cluster_id(members.iter().map(|member| member.id)), ClusterId(0xcdf8_1819_4e3a_8c32));
    assert_eq!(
        members[0].to_json(),
        r#"{"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"name":"default"}"#
    );
}

#[test]
fn the_order_of_urls_and_members_does_not_matter() {
    let one = Membership::bootstrap(&cluster(&[("a", "http://x:1,http://y:1"), ("b", "http://z:1")]), "t");
    let other = Membership::bootstrap(&cluster(&[("b", "http://z:1"), ("a", "http://y:1,http://x:1")]), "t");
    assert_eq!(one, other);
    let members = one.expect("two members");
    assert!(members[0].id < members[1].id);
    let backwards = cluster_id(members.iter().rev().map(|member| member.id));
    assert_eq!(cluster_id(members.iter().map(|member| member.id)), backwards);
}

#[test]
fn an_added_member_hashes_its_second() {
    let urls = [String::from("http://localhost:2380")];
    assert_ne!(member_id(&urls, "", Some(1)), member_id(&urls, "", Some(2)));
    assert_ne!(member_id(&urls, "", None), member_id(&urls, "", Some(0)));
}

#[test]
fn a_contradictory_list_is_refused() {
    let shared = cluster(&[("a", "http://x:1"), ("b", "http://x:1")]);
    assert_eq!(Membership::bootstrap(&shared, "t"), Err(BootstrapError::DuplicateUrl("http://x:1".into())));
    let none = BTreeMap::from([(String::from("a"), vec![])]);
    assert_eq!(Membership::bootstrap(&none, "t"), Err(BootstrapError::NoUrl("a".into())));
}

#[test]
fn json_is_what_go_writes_and_takes_what_go_may_have_written() {
    let member = Member {
        id: MemberId(7),
        name: "a<b>&\u{2028}".into(),
        peer_urls: vec!["http://p:1".into()],
        client_urls: vec!["http://c:1".into(), "http://c:2".into()],
        is_learner: true,
    };
    let json = r#"{"id":7,"peerURLs":["http://p:1"],"isLearner":true,"name":"a\u003cb\u003e\u0026\u2028","clientURLs":["http://c:1","http://c:2"]}"#;
    assert_eq!(member.to_json(), json);
    assert_eq!(Member::from_json(json.as_bytes()), Ok(member.clone()));
    let context = member.to_change_context(true);
    assert_eq!(context, json.replace("\"]}", "\"],\"isPromote\":true}"));
    assert_eq!(Member::from_change_context(context.as_bytes()), Ok((member.clone(), true)));
    assert_eq!(Member::from_change_context(json.as_bytes()), Ok((member, false)));
    let bare = Member { id: MemberId(7), ..Member::default() };
    assert_eq!(bare.to_json(), r#"{"id":7,"peerURLs":[]}"#);
    assert_eq!(Member::from_json(br#"{"id":7,"peerURLs":null,"clientURLs":null}"#), Ok(bare));
    assert!(Member::from_json(b"{").is_err());
}

#[test]
fn conf_state_and_downgrade_are_what_go_writes() {
    let state = ConfState { voters: vec![MemberId(1), MemberId(2)], ..ConfState::default() };
    assert_eq!(conf_state_to_json(&state), r#"{"voters":[1,2],"auto_leave":false}"#);
    assert_eq!(conf_state_from_json(conf_state_to_json(&state).as_bytes()), Ok(state));
    assert_eq!(conf_state_to_json(&ConfState::default()), r#"{"auto_leave":false}"#);
    let downgrade = Downgrade { enabled: true, target_version: "3.6.0".into() };
    assert_eq!(downgrade.to_json(), r#"{"target-version":"3.6.0","enabled":true}"#);
    assert_eq!(Downgrade::from_json(downgrade.to_json().as_bytes()), Ok(downgrade));
}

fn with_members(members: &[(u64, bool)]) -> Membership {
    let mut membership = Membership::default();
    for (id, is_learner) in members {
        let member = Member {
            id: MemberId(*id),
            peer_urls: vec![format!("http://m{id}:1")],
            is_learner: *is_learner,
            ..Member::default()
        };
        membership.install_table(&member.table_change());
    }
    let voters = members.iter().filter(|(_, is_learner)| !is_learner).map(|(id, _)| MemberId(*id)).collect();
    let state = conf_state_to_json(&ConfState { voters, ..ConfState::default() });
    membership.install_table(&TableChange::ConfState(state.into()));
    membership
}

#[test]
fn m1_m2_m3_changes_are_refused_alike_everywhere() {
    use ConfChangeKind::{AddLearner, AddVoter, Remove, Update};
    use EtcdError::{MemberExist, MemberNotEnoughStarted, MemberNotFound, MemberNotLearner, PeerURLExist};
    let mut membership = with_members(&[(1, false), (2, true), (3, false)]);
    membership.install_table(&TableChange::MemberRemove(MemberId(3)));
    let alone = ConfState { voters: vec![MemberId(1)], learners: vec![MemberId(2)], ..ConfState::default() };
    membership.install_table(&TableChange::ConfState(conf_state_to_json(&alone).into()));
    let rows = [
        (AddVoter, 4, "http://m4:1", false, Ok(())),
        (AddLearner, 4, "http://m4:1", false, Ok(())),
        (AddVoter, 1, "http://m4:1", false, Err(MemberExist)),
        (AddVoter, 4, "http://m2:1", false, Err(PeerURLExist)),
        (AddVoter, 3, "http://m4:1", false, Err(MemberNotFound)),
        (AddVoter, 2, "http://m2:1", true, Ok(())),
        (AddVoter, 1, "http://m1:1", true, Err(MemberNotLearner)),
        (AddVoter, 4, "http://m4:1", true, Err(MemberNotFound)),
        (Remove, 2, "", false, Ok(())),
        (Remove, 3, "", false, Err(MemberNotFound)),
        (Remove, 4, "", false, Err(MemberNotFound)),
        (Remove, 1, "", false, Err(MemberNotEnoughStarted)),
        (Update, 1, "http://new:1", false, Ok(())),
        (Update, 1, "http://m1:1", false, Ok(())),
        (Update, 1, "http://m2:1", false, Err(PeerURLExist)),
        (Update, 4, "http://m4:1", false, Err(MemberNotFound)),
    ];
    for (kind, id, url, is_promote, expected) in rows {
        let member = Member { id: MemberId(id), peer_urls: vec![url.into()], ..Member::default() };
        let checked = membership.check_change(kind, &member, is_promote);
        assert_eq!(checked, expected, "{kind:?} {id} {url} promote={is_promote}");
    }
}

#[test]
fn m1_learners_have_a_bound_that_two_additions_at_once_do_not_pass() {
    let mut membership = with_members(&[(1, false), (2, true)]);
    let new = Member { id: MemberId(3), peer_urls: vec!["http://m3:1".into()], ..Member::default() };
    let add = |membership: &Membership, kind| {
        membership.check_change(kind, &Member { is_learner: true, ..new.clone() }, false)
    };
    assert_eq!(add(&membership, ConfChangeKind::AddLearner), Ok(()), "there is no bound");
    membership.bound_learners(2);
    assert_eq!(add(&membership, ConfChangeKind::AddLearner), Ok(()));
    membership.bound_learners(1);
    assert_eq!(add(&membership, ConfChangeKind::AddLearner), Err(EtcdError::TooManyLearners));
    assert_eq!(add(&membership, ConfChangeKind::AddVoter), Ok(()));
}

#[test]
fn a_removed_member_is_remembered() {
    let mut membership = with_members(&[(1, false), (2, false)]);
    membership.install_table(&TableChange::MemberRemove(MemberId(2)));
    assert_eq!((membership.member(MemberId(2)), membership.is_removed(MemberId(2))), (None, true));
    assert_eq!(membership.members().len(), 1);
}
