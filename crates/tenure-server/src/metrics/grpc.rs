//! Counters of gRPC calls, resolved once: counting a call looks no label up.

use super::methods::METHODS;
use crate::limits::CLIENT_VERSIONS_MAX;
use parking_lot::RwLock;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};
use tonic::Code;

/// The codes of gRPC as the label `grpc_code` spells them, in the order of their numbers.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Everything that is counted of one method.
#[derive(Debug)]
pub struct MethodMetrics {
    /// Calls that began.
    pub started: IntCounter,
    /// Messages from clients.
    pub received: IntCounter,
    /// Messages to clients.
    pub sent: IntCounter,
    handled: [IntCounter; CODES.len()],
    /// How long calls took, with `--metrics extensive`.
    pub handling_seconds: Option<Histogram>,
}

impl MethodMetrics {
    /// Calls that ended with a code.
    #[must_use]
    pub fn handled(&self, code: Code) -> &IntCounter {
        &self.handled[code as usize]
    }
}

/// Whether a call is unary or a stream; the label `type` of `etcd_server_client_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestType {
    /// One request, one answer.
    Unary,
    /// Anything else.
    Stream,
}

/// All methods of the server.
#[derive(Debug)]
pub struct GrpcMetrics {
    methods: Box<[MethodMetrics]>,
    requests: IntCounterVec,
    /// What clients said in `client-api-version`, at most [`CLIENT_VERSIONS_MAX`] of them.
    versions: RwLock<Vec<ClientVersion>>,
}

#[derive(Debug)]
struct ClientVersion {
    name: String,
    unary: IntCounter,
    stream: IntCounter,
}

impl GrpcMetrics {
    /// Registers the counters of all methods, all at 0.
    ///
    /// * `durations`: whether a histogram of durations is kept too.
    ///
    /// # Errors
    /// A name that is registered already.
    pub fn new(registry: &Registry, durations: bool) -> prometheus::Result<Self> {
        const LABELS: [&str; 3] = ["grpc_type", "grpc_service", "grpc_method"];
        const LABELS_AND_CODE: [&str; 4] = ["grpc_type", "grpc_service", "grpc_method", "grpc_code"];
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let started =
            counter("grpc_server_started_total", "Total number of RPCs started on the server.", &LABELS)?;
        let received = counter(
            "grpc_server_msg_received_total",
            "Total number of RPC stream messages received on the server.",
            &LABELS,
        )?;
        let sent = counter(
            "grpc_server_msg_sent_total",
            "Total number of gRPC stream messages sent by the server.",
            &LABELS,
        )?;
        let handled = counter(
            "grpc_server_handled_total",
            "Total number of RPCs completed on the server, regardless of success or failure.",
            &LABELS_AND_CODE,
        )?;
        let requests = counter(
            "etcd_server_client_requests_total",
            "The total number of client requests per client version.",
            &["type", "client_api_version"],
        )?;
        let handling = durations.then(|| handling_histogram(registry, &LABELS)).transpose()?;
        let methods = METHODS
            .iter()
            .map(|method| {
                let labels = [method.kind.as_str(), method.service, method.name];
                MethodMetrics {
                    started: started.with_label_values(&labels),
                    received: received.with_label_values(&labels),
                    sent: sent.with_label_values(&labels),
                    handled: CODES
                        .map(|code| handled.with_label_values(&[labels[0], labels[1], labels[2], code])),
                    handling_seconds: handling.as_ref().map(|handling| handling.with_label_values(&labels)),
                }
            })
            .collect();
        Ok(Self { methods, requests, versions: RwLock::new(Vec::new()) })
    }

    /// The counters of a method.
    ///
    /// * `position`: its place in [`METHODS`].
    #[must_use]
    pub fn method(&self, position: usize) -> &MethodMetrics {
        &self.methods[position]
    }

    /// Counts a request by the version that its client says it has.
    ///
    /// * `version`: the metadata `client-api-version`; "unknown" if there is none.
    pub fn count_request(&self, kind: RequestType, version: &str) {
        let count = |known: &ClientVersion| match kind {
            RequestType::Unary => known.unary.inc(),
            RequestType::Stream => known.stream.inc(),
        };
        if let Some(known) = self.versions.read().iter().find(|known| known.name == version) {
            return count(known);
        }
        let mut versions = self.versions.write();
        // The last place is for whatever comes after the others.
        let name = if versions.len() + 1 < CLIENT_VERSIONS_MAX { version } else { "other" };
        if let Some(known) = versions.iter().find(|known| known.name == name) {
            return count(known);
        }
        let known = ClientVersion {
            name: name.to_owned(),
            unary: self.requests.with_label_values(&["unary", name]),
            stream: self.requests.with_label_values(&["stream", name]),
        };
        count(&known);
        versions.push(known);
    }
}

fn handling_histogram(registry: &Registry, labels: &[&str]) -> prometheus::Result<HistogramVec> {
    let help = "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.";
    let handling = HistogramVec::new(HistogramOpts::new("grpc_server_handling_seconds", help), labels)?;
    registry.register(Box::new(handling.clone()))?;
    Ok(handling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_codes_stand_at_their_numbers() {
        assert_eq!(CODES[Code::OutOfRange as usize], "OutOfRange");
        assert_eq!(CODES[Code::Cancelled as usize], "Canceled");
        assert_eq!(CODES[Code::Unauthenticated as usize], "Unauthenticated");
    }

    #[test]
    fn versions_of_clients_are_bounded() {
        let registry = Registry::new();
        let metrics = GrpcMetrics::new(&registry, false).unwrap();
        for number in 0..1000 {
            metrics.count_request(RequestType::Unary, &format!("3.{number}"));
        }
        metrics.count_request(RequestType::Stream, "3.0");
        assert_eq!(metrics.versions.read().len(), CLIENT_VERSIONS_MAX);
        assert_eq!(metrics.requests.with_label_values(&["unary", "other"]).get(), 1000 - 31);
        assert_eq!(metrics.requests.with_label_values(&["stream", "3.0"]).get(), 1);
    }
}
