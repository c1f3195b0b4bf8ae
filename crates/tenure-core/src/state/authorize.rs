//! The one authorisation walk: everything that a request touches, compared with what its user may do.
//!
//! Writes are looked at when they are applied, by every member alike; reads by the member that answers them. What is refused when
//! it is applied is exactly what etcd refuses then, or members of both kinds would disagree. What only the edge refuses, such as a
//! compaction, is asked here too, with the other variants of [`Access`].

use super::StateMachine;
use crate::auth::Authority;
use crate::command::{Command, DeleteRange, Identity, Op, Put, Txn};
use crate::types::{KeyRange, LeaseId};
use std::cell::OnceCell;
use tenure_api::error::EtcdError;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub enum Access<'a> {
    /// Something that every user may do, but nobody else.
    User,
    /// Something that takes the role `root` (A13).
    Admin,
    /// Apply a command.
    Apply(&'a Command),
    /// Read or watch a range.
    Read(&'a KeyRange),
    /// Carry out a transaction that only reads.
    ReadTxn(&'a Txn),
    /// Learn which keys are attached to a lease (L9, L10).
    ReadAttached(LeaseId),
    /// Decide about the life of a lease, and so of the keys attached to it (L12).
    WriteAttached(LeaseId),
    /// See the roles of a user: his own, or with the role `root` anybody's.
    UserGet(&'a str),
    /// See what a role may do: a role of his own, or with the role `root` any.
    RoleGet(&'a str),
}

impl StateMachine {
    /// Whether `who` may do something. While authentication is off everybody may do everything.
    ///
    /// # Errors
    /// * `UserEmpty`: nobody asks, and authentication is on;
    /// * `AuthOldRevision`: users or roles have changed since he was authenticated;
    /// * `UserNotFound`, `PermissionDenied`: he may not, or is gone.
    pub fn authorize(&self, who: &Identity, access: Access<'_>) -> Result<(), EtcdError> {
        if !self.auth.is_enabled() {
            return Ok(());
        }
        let walk = Walk { state: self, who, authority: OnceCell::new() };
        match access {
            Access::User => self.auth.check_user(who),
            Access::Admin => self.auth.check_admin(who),
            Access::Apply(command) => walk.command(command),
            Access::Read(range) => self.auth.authority(who)?.read(range),
            Access::ReadTxn(txn) => self.auth.check_user(who).and_then(|()| walk.txn(txn)),
            Access::ReadAttached(lease) => walk.attached(lease, |authority, key| authority.read_key(key)),
            Access::WriteAttached(lease) => walk.attached(lease, |authority, key| authority.write_key(key)),
            Access::UserGet(name) if !name.is_empty() && name == who.username => Ok(()),
            Access::RoleGet(role) if self.auth.has_role(&who.username, role) => Ok(()),
            Access::UserGet(_) | Access::RoleGet(_) => self.auth.check_admin(who),
        }
    }
}

struct Walk<'a> {
    state: &'a StateMachine,
    who: &'a Identity,
    authority: OnceCell<Result<Authority<'a>, EtcdError>>,
}

impl<'a> Walk<'a> {
    /// Asked for only where a key is touched: what touches none is not refused for whom it is asked.
    fn authority(&self) -> Result<Authority<'a>, EtcdError> {
        *self.authority.get_or_init(|| self.state.auth.authority(self.who))
    }

    fn command(&self, command: &Command) -> Result<(), EtcdError> {
        use crate::command::AuthCommand::Authenticate;
        match command {
            Command::Put(put) => self.put(put),
            Command::DeleteRange(delete) => self.delete_range(delete),
            Command::Txn(txn) => self.txn(txn),
            Command::LeaseRevoke(revoke) => {
                self.attached(revoke.id, |authority, key| authority.write_key(key))
            }
            // Who he is has been found out by the member that proposed it.
            Command::Auth(Authenticate(_)) => Ok(()),
            Command::Auth(_) => self.state.auth.check_admin(self.who),
            Command::Compact(_)
            | Command::LeaseGrant(_)
            | Command::LeaseCheckpoint(_)
            | Command::Alarm(_)
            | Command::ClusterVersionSet(_)
            | Command::MemberAttributesSet(_)
            | Command::DowngradeInfoSet(_)
            | Command::Nothing => Ok(()),
        }
    }

    /// A key that is attached to a lease goes when the lease goes, so whoever attaches one must have a say in all that is attached
    /// already (A14).
    fn put(&self, put: &Put) -> Result<(), EtcdError> {
        let authority = self.authority()?;
        authority.write_key(&put.key)?;
        self.attached(LeaseId(put.lease), |authority, key| authority.write_key(key))?;
        if put.prev_kv { authority.read_key(&put.key) } else { Ok(()) }
    }

    fn delete_range(&self, delete: &DeleteRange) -> Result<(), EtcdError> {
        let authority = self.authority()?;
        authority.write(&delete.range)?;
        if delete.prev_kv { authority.read(&delete.range) } else { Ok(()) }
    }

    /// Both branches count, whichever will run, at every depth (T11).
    fn txn(&self, txn: &Txn) -> Result<(), EtcdError> {
        txn.compare.iter().try_for_each(|compare| self.authority()?.read(&compare.range))?;
        txn.success.iter().chain(&txn.failure).try_for_each(|op| match op {
            Op::Range(query) => self.authority()?.read(&query.range),
            Op::Put(put) => self.put(put),
            Op::DeleteRange(delete) => self.delete_range(delete),
            Op::Txn(txn) => self.txn(txn),
        })
    }

    /// Whether `permits` holds for all keys attached to a lease. Who has the role `root` is not asked for his auth revision.
    fn attached(
        &self,
        lease: LeaseId,
        permits: impl Fn(Authority<'_>, &[u8]) -> Result<(), EtcdError>,
    ) -> Result<(), EtcdError> {
        let mut keys = self.state.leases.keys_of(lease).peekable();
        if keys.peek().is_none() || self.state.auth.check_admin(self.who).is_ok() {
            return Ok(());
        }
        let authority = self.authority()?;
        keys.try_for_each(|key| permits(authority, key))
    }
}
