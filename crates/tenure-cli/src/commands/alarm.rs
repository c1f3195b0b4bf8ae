//! `alarm`: shows and clears alarms.

use crate::{
    command_line::{Call, Group, Pending, Spec},
    exit::Failure,
    output::Answer,
};
use tenure_client::raw::etcdserverpb::{AlarmRequest, AlarmResponse, alarm_request::AlarmAction};

/// `alarm`.
pub static SPEC: Spec = Spec {
    words: "alarm <subcommand>",
    about: "Alarms: disarm, list",
    group: Some(Group::Maintenance),
    commands: &[&DISARM, &LIST],
    ..Spec::EMPTY
};

static DISARM: Spec = Spec { words: "disarm", about: "Clears all alarms", run: Some(disarm), ..Spec::EMPTY };

static LIST: Spec = Spec { words: "list", about: "Lists the alarms", run: Some(list), ..Spec::EMPTY };

fn list(call: &Call) -> Pending<'_> {
    Box::pin(async {
        if !call.arguments().is_empty() {
            return Err(Failure::bad_args("alarm list command accepts no arguments"));
        }
        let (client, printer) = call.connect().await?;
        printer.print(&Answer::Alarms(client.raw().call(&AlarmRequest::default()).await?))
    })
}

fn disarm(call: &Call) -> Pending<'_> {
    Box::pin(async {
        if !call.arguments().is_empty() {
            return Err(Failure::bad_args("alarm disarm command accepts no arguments"));
        }
        let (client, printer) = call.connect().await?;
        let raised = client.raw().call(&AlarmRequest::default()).await?;
        // Put together from several answers, so it has no header.
        let mut cleared = AlarmResponse::default();
        for alarm in raised.alarms {
            let request = AlarmRequest {
                action: AlarmAction::Deactivate.into(),
                member_id: alarm.member_id,
                alarm: alarm.alarm,
            };
            cleared.alarms.extend(client.raw().call(&request).await?.alarms);
        }
        printer.print(&Answer::Alarms(cleared))
    })
}
