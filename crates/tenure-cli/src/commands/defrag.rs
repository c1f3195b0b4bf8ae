//! `defrag`: gives unused space of each endpoint's disk back.

use super::{endpoint::CLUSTER, endpoints};
use crate::{
    command_line::{Call, Group, Pending, Spec},
    exit::{Exit, Failure},
    go::duration,
    output,
};
use std::time::Instant;
use tenure_client::raw::etcdserverpb::DefragmentRequest;

/// `defrag`.
pub static SPEC: Spec = Spec {
    words: "defrag",
    about: "Gives unused disk space of the endpoints back",
    group: Some(Group::Maintenance),
    flags: &[CLUSTER],
    run: Some(run),
    ..Spec::EMPTY
};

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let settings = call.settings()?;
        let mut failed = false;
        for endpoint in endpoints(call, &settings).await? {
            let client = settings.at(&endpoint).connect().await?;
            let start = Instant::now();
            let outcome = client.raw().call(&DefragmentRequest {}).await;
            let took = duration::format(start.elapsed());
            match outcome {
                Ok(_) => {
                    output::write(format!("Finished defragmenting etcd member[{endpoint}]. took {took}\n"))?
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    failure.log_cause();
                    let reason = failure.message();
                    eprintln!("Failed to defragment etcd member[{endpoint}]. took {took}. ({reason})");
                    failed = true;
                }
            }
        }
        if failed { Err(Failure::told(Exit::Error)) } else { Ok(()) }
    })
}
