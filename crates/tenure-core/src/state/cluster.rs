//! Cluster version, member attributes, downgrade.

use super::{Halt, Outcome, StateMachine, WriteBatch};
use crate::command::{ClusterVersionSet, DowngradeInfoSet, MemberAttributesSet};

pub(super) fn version_set(
    _state: &StateMachine,
    _batch: &mut WriteBatch,
    _set: &ClusterVersionSet,
) -> Result<Outcome, Halt> {
    Err(Halt("cluster version is not built yet".into()))
}

pub(super) fn attributes_set(
    _state: &StateMachine,
    _batch: &mut WriteBatch,
    _set: &MemberAttributesSet,
) -> Result<Outcome, Halt> {
    Err(Halt("member attributes are not built yet".into()))
}

pub(super) fn downgrade_set(
    _state: &StateMachine,
    _batch: &mut WriteBatch,
    _set: &DowngradeInfoSet,
) -> Result<Outcome, Halt> {
    Err(Halt("downgrade is not built yet".into()))
}
