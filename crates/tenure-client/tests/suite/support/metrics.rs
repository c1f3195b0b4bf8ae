//! What a server counts.

use tenure_harness::http;

/// How often a server has answered a method, refusals included.
pub async fn calls_handled(endpoint: &str, method: &str) -> u64 {
    let wanted = format!("grpc_method=\"{method}\"");
    let text = metrics(endpoint).await;
    let lines =
        text.lines().filter(|line| line.starts_with("grpc_server_handled_total") && line.contains(&wanted));
    lines
        .map(|line| line.rsplit_once(' ').expect("a figure").1.parse::<f64>().expect("a figure") as u64)
        .sum()
}

/// A figure without labels, if the server has it.
pub async fn figure(endpoint: &str, name: &str) -> Option<f64> {
    let text = metrics(endpoint).await;
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(found, _)| *found == name).map(|(_, figure)| figure.trim().parse().expect("a figure"))
}

/// All figures of a server whose names have this part, but those that are 0.
pub async fn figures(endpoint: &str, part: &str) -> Vec<String> {
    let text = metrics(endpoint).await;
    let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains(part));
    lines.filter(|line| !line.ends_with(" 0") && !line.contains("_bucket")).map(str::to_owned).collect()
}

async fn metrics(endpoint: &str) -> String {
    let answer = http::request(endpoint, "GET", "/metrics").await.expect("it answers");
    String::from_utf8_lossy(&answer.body).into_owned()
}
