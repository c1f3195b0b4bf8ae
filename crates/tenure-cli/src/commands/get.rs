//! `get`: reads keys.

use super::{is_serializable, key_range};
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::{Exit, Failure},
    output::{Answer, Format},
};
use tenure_client::{
    Client, Result,
    raw::etcdserverpb::{
        RangeRequest, RangeResponse,
        range_request::{SortOrder, SortTarget},
    },
};
use tokio_stream::StreamExt;

/// `get`.
pub static SPEC: Spec = Spec {
    words: "get [options] <key> [range_end]",
    about: "Reads a key or the keys of a range [key, range_end)",
    group: Some(Group::KeyValue),
    flags: &[
        Flag::new("consistency", Kind::Text, "linearizable (l) or serializable (s) read").default("l"),
        Flag::new("order", Kind::Text, "sort upwards (ASCEND) or downwards (DESCEND)"),
        Flag::new("sort-by", Kind::Text, "sort by CREATE, KEY, MODIFY, VALUE or VERSION"),
        Flag::new("limit", Kind::Int, "answer this many pairs at most"),
        Flag::new("prefix", Kind::Bool, "all keys that begin with the key"),
        Flag::new("from-key", Kind::Bool, "all keys from the key on, by bytes"),
        Flag::new("rev", Kind::Int, "read at this revision"),
        Flag::new("keys-only", Kind::Bool, "leave the values out"),
        Flag::new("count-only", Kind::Bool, "only count the keys"),
        Flag::new("print-value-only", Kind::Bool, "leave the keys out (simple format only)"),
        Flag::new("min-create-rev", Kind::Int, "only keys created at this revision or later"),
        Flag::new("max-create-rev", Kind::Int, "only keys created at this revision or before"),
        Flag::new("min-mod-rev", Kind::Int, "only keys changed last at this revision or later"),
        Flag::new("max-mod-rev", Kind::Int, "only keys changed last at this revision or before"),
        Flag::new("stream", Kind::Bool, "get the answer in parts, by the RPC RangeStream"),
    ],
    run: Some(run),
    ..Spec::EMPTY
};

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let request = request(call)?;
        let settings = call.settings()?;
        let (client, mut printer) = (settings.connect().await?, settings.printer);
        if call.flag("count-only") && printer.format() != Format::Fields {
            return Err(Failure::bad_args("--count-only is only for `--write-out=fields`"));
        }
        if call.flag("print-value-only") {
            if printer.format() != Format::Simple {
                return Err(Failure::bad_args("print-value-only is only for `--write-out=simple`"));
            }
            printer = printer.values_only();
        }
        let response = match call.flag("stream") {
            true => settings.in_time(in_parts(&client, &request)).await?,
            false => client.raw().call(&request).await?,
        };
        printer.print(&Answer::Range(response))
    })
}

/// The parts of a range put together.
async fn in_parts(client: &Client, request: &RangeRequest) -> Result<RangeResponse> {
    let mut parts = client.raw().range_stream(request).await?;
    let mut whole = RangeResponse::default();
    while let Some(part) = parts.next().await {
        let part = part?.range_response.unwrap_or_default();
        whole.kvs.extend(part.kvs);
        // Only the last part has these.
        whole.header = part.header.or(whole.header);
        whole.more |= part.more;
        whole.count = whole.count.max(part.count);
    }
    Ok(whole)
}

/// What the words ask for.
///
/// # Errors
/// They contradict each other.
pub fn request(call: &Call) -> Result<RangeRequest, Failure> {
    let arguments = call.arguments();
    let Some(key) = arguments.first() else {
        let message = "get command needs one argument as key and an optional argument as range_end";
        return Err(Failure::bad_args(message));
    };
    if call.flag("keys-only") && call.flag("count-only") {
        let message = "`--keys-only` and `--count-only` cannot be set at the same time, choose one";
        return Err(Failure::bad_args(message));
    }
    let serializable = is_serializable(call)?;
    let (key, range_end) = key_range(call, key, arguments.get(1).map(Vec::as_slice))?;
    let (sort_target, sort_order) = sort(call)?;
    let positive = |name: &str| call.int(name).max(0);
    for (min, max, names) in [
        ("min-create-rev", "max-create-rev", ["getMinCreateRev", "getMaxCreateRev"]),
        ("min-mod-rev", "max-mod-rev", ["getMinModRev", "getMaxModRev"]),
    ] {
        let (min, max) = (call.int(min), call.int(max));
        if max > 0 && min > max {
            let message = format!("{}(={min}) > {}(={max})", names[0], names[1]);
            return Err(Failure::new(Exit::BadFeature, message));
        }
    }
    Ok(RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        limit: call.int("limit"),
        revision: positive("rev"),
        sort_order: sort_order.into(),
        sort_target: sort_target.into(),
        serializable,
        keys_only: call.flag("keys-only"),
        count_only: call.flag("count-only"),
        min_mod_revision: positive("min-mod-rev"),
        max_mod_revision: positive("max-mod-rev"),
        min_create_revision: positive("min-create-rev"),
        max_create_revision: positive("max-create-rev"),
    })
}

fn sort(call: &Call) -> Result<(SortTarget, SortOrder), Failure> {
    let (order, target) = (call.text("order"), call.text("sort-by"));
    let sort_order = match order.to_uppercase().as_str() {
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        "" => SortOrder::None,
        _ => return Err(Failure::new(Exit::BadFeature, format!("bad sort order {order}"))),
    };
    let sort_target = match target.to_uppercase().as_str() {
        "CREATE" => SortTarget::Create,
        "KEY" | "" => SortTarget::Key,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => return Err(Failure::new(Exit::BadFeature, format!("bad sort target {target}"))),
    };
    // Servers answer in the order of keys anyway, and faster when they are not told to.
    let sort_order = match (sort_target, sort_order) {
        (SortTarget::Key, SortOrder::Ascend) => SortOrder::None,
        (_, order) => order,
    };
    Ok((sort_target, sort_order))
}
