//! Members: who there is, and which changes of them are refused (M1 to M3).

use std::collections::{BTreeMap, BTreeSet};
use tenure_api::error::EtcdError;
use tenure_core::membership::Member;
use tenure_core::types::{ConfChange, ConfChangeKind, MemberId};

/// The members.
#[derive(Clone, Debug, Default)]
pub struct Members {
    there: BTreeMap<MemberId, Known>,
    gone: BTreeSet<MemberId>,
}

#[derive(Clone, Debug)]
struct Known {
    peer_urls: Vec<String>,
    votes: bool,
}

impl Members {
    /// Makes a change, or says why not.
    ///
    /// # Errors
    /// The refusal.
    pub fn change(&mut self, change: &ConfChange) -> Result<(), EtcdError> {
        let id = change.member;
        let described = Member::from_change_context(&change.context).ok();
        let (peer_urls, is_promote) =
            described.map_or((Vec::new(), false), |(member, is_promote)| (member.peer_urls, is_promote));
        if self.gone.contains(&id) {
            return Err(EtcdError::MemberNotFound);
        }
        let taken = self.there.iter().filter(|(other, _)| **other != id);
        let is_taken = taken.flat_map(|(_, known)| &known.peer_urls).any(|url| peer_urls.contains(url));
        let voters = self.there.values().filter(|known| known.votes).count();
        match (change.kind, self.there.get_mut(&id)) {
            (ConfChangeKind::AddVoter | ConfChangeKind::AddLearner, Some(known)) if is_promote => {
                if known.votes {
                    return Err(EtcdError::MemberNotLearner);
                }
                known.votes = change.kind == ConfChangeKind::AddVoter;
            }
            (ConfChangeKind::AddVoter | ConfChangeKind::AddLearner, Some(_)) => {
                return Err(EtcdError::MemberExist);
            }
            (_, None) if is_promote => return Err(EtcdError::MemberNotFound),
            (ConfChangeKind::AddVoter | ConfChangeKind::AddLearner, None) => {
                if is_taken {
                    return Err(EtcdError::PeerURLExist);
                }
                let votes = change.kind == ConfChangeKind::AddVoter;
                self.there.insert(id, Known { peer_urls, votes });
            }
            (ConfChangeKind::Remove | ConfChangeKind::Update, None) => return Err(EtcdError::MemberNotFound),
            (ConfChangeKind::Update, Some(_)) if is_taken => return Err(EtcdError::PeerURLExist),
            (ConfChangeKind::Update, Some(known)) => known.peer_urls = peer_urls,
            (ConfChangeKind::Remove, Some(known)) if known.votes && voters == 1 => {
                return Err(EtcdError::MemberNotEnoughStarted);
            }
            (ConfChangeKind::Remove, Some(_)) => {
                self.there.remove(&id);
                self.gone.insert(id);
            }
        }
        Ok(())
    }
}
