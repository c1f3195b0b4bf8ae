//! Shared configuration: a tool with flags for endpoints, TLS and a user.
//!
//! `config [--endpoints A,B,C] [--cacert FILE] [--cert FILE --key FILE] [--user NAME:PASSWORD] COMMAND`, and the command is
//! `set KEY=VALUE...`, `list PREFIX`, `watch PREFIX` or `status`. Without one it tries them in turn.

use std::{path::PathBuf, time::Duration};
use tenure_client::{
    Client, ClientConfig, Compare, Error, EventKind, GetResponse, KeyRange, Op, Result, TlsConfig,
};

#[tokio::main]
async fn main() -> Result<()> {
    let endpoint = std::env::var("ENDPOINT").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let (config, command) = flags(endpoint, std::env::args().skip(1))?;
    let client = Client::connect(&config).await?;
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    match command[..] {
        ["set", ..] => set(&client, &pairs(&command[1..])?).await.map(drop),
        ["list", prefix] => list(&client, prefix).await.map(drop),
        ["watch", prefix] => watch(&client, prefix, None).await,
        ["status"] => status(&client).await,
        [] => all_in_turn(&client).await,
        _ => Err(Error::Invalid("the commands are set, list, watch and status".to_owned())),
    }
}

/// Reads the flags; what is left is the command.
fn flags(endpoint: String, args: impl Iterator<Item = String>) -> Result<(ClientConfig, Vec<String>)> {
    let (mut endpoints, mut user, mut command) = (endpoint, None, Vec::new());
    let (mut ca, mut certificate, mut key) = (None::<PathBuf>, None::<PathBuf>, None::<PathBuf>);
    let mut args = args;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| Error::Invalid(format!("{arg} takes a value")));
        match arg.as_str() {
            "--endpoints" => endpoints = value()?,
            "--cacert" => ca = Some(value()?.into()),
            "--cert" => certificate = Some(value()?.into()),
            "--key" => key = Some(value()?.into()),
            "--user" => user = Some(value()?),
            _ => command.push(arg),
        }
    }
    let mut config = ClientConfig::from(endpoints)
        .dial_timeout(Duration::from_secs(2))
        .request_timeout(Duration::from_secs(10));
    if ca.is_some() || certificate.is_some() {
        let mut tls = TlsConfig::default();
        if let Some(ca) = &ca {
            tls = tls.trust(ca);
        }
        if let (Some(certificate), Some(key)) = (&certificate, &key) {
            tls = tls.identity(certificate, key);
        }
        config = config.tls(tls);
    }
    if let Some((name, password)) = user.as_deref().and_then(|user| user.split_once(':')) {
        config = config.user(name, password);
    }
    Ok((config, command))
}

fn pairs<'a>(args: &[&'a str]) -> Result<Vec<(&'a str, &'a str)>> {
    let pair =
        |arg: &&'a str| arg.split_once('=').ok_or_else(|| Error::Invalid(format!("{arg} is no KEY=VALUE")));
    args.iter().map(pair).collect()
}

/// Sets all keys at once, and says what was there before, exactly: if somebody changes one of them meanwhile, it looks again.
async fn set(client: &Client, pairs: &[(&str, &str)]) -> Result<Vec<Option<String>>> {
    loop {
        let read = client.txn().and_then(pairs.iter().map(|(key, _)| Op::get(key))).commit().await?;
        let found: Vec<GetResponse> =
            read.responses.into_iter().filter_map(tenure_client::OpResponse::into_get).collect();
        let unchanged = pairs.iter().zip(&found).map(|((key, _), found)| {
            // 0 is that of a key that does not exist.
            Compare::mod_revision(key).equal(found.first().map_or(0, |pair| pair.mod_revision))
        });
        let puts = pairs.iter().map(|(key, value)| Op::put(key, value));
        let answer = client.txn().when(unchanged).and_then(puts).commit().await?;
        if answer.succeeded {
            println!("written at revision {}", answer.header.revision);
            let before = found.iter().map(|found| found.first().map(|pair| pair.value_text().into()));
            return Ok(before.collect());
        }
    }
}

/// Lists all keys with a prefix as they are at one moment, however many there are, and counts them.
async fn list(client: &Client, prefix: &str) -> Result<u64> {
    let mut parts = client.get_stream(Op::get(prefix).prefix());
    let mut last = GetResponse::default();
    while let Some(part) = parts.next().await {
        last = part?;
        if let (Some(first), Some(end)) = (last.kvs.first(), last.kvs.last()) {
            println!("{} keys from {} to {}", last.kvs.len(), first.key_text(), end.key_text());
        }
    }
    println!("{} keys at revision {}", last.count, last.header.revision);
    Ok(last.count)
}

/// The same page by page, for those who show one at a time.
async fn list_in_pages(client: &Client, prefix: &str) -> Result<u64> {
    let mut range = KeyRange::prefix(prefix);
    // 0 is now; later pages are of the revision of the first.
    let (mut revision, mut keys) = (0, 0);
    loop {
        let page = client.get(&range).limit(500).revision(revision).await?;
        if revision == 0 {
            revision = page.header.revision;
        }
        keys += page.kvs.len() as u64;
        match page.kvs.last() {
            Some(last) if page.more => range = range.after(&last.key),
            _ => return Ok(keys),
        }
    }
}

/// Tells changes as they come, and now and then that none are missing; up to a revision, or for ever.
async fn watch(client: &Client, prefix: &str, up_to: Option<i64>) -> Result<()> {
    let mut changes = client.watch(prefix).prefix().prev_kv().await?;
    let mut clock = tokio::time::interval(Duration::from_secs(5));
    loop {
        let response = tokio::select! {
            response = changes.next() => response,
            _ = clock.tick() => {
                changes.request_progress().await;
                continue;
            }
        };
        let response = response.unwrap_or(Err(Error::Closed))?;
        for event in &response.events {
            let before = event.prev_kv.as_ref().map(|pair| pair.value_text());
            match event.kind {
                EventKind::Put => {
                    println!("{} = {}, was {before:?}", event.kv.key_text(), event.kv.value_text())
                }
                EventKind::Delete => println!("{} is gone, was {before:?}", event.kv.key_text()),
            }
        }
        if response.is_progress_notify() {
            println!("nothing is missing up to revision {}", response.header.revision);
            if up_to.is_some_and(|end| response.header.revision >= end) {
                return Ok(());
            }
        }
    }
}

/// How each endpoint is, and who is a member.
async fn status(client: &Client) -> Result<()> {
    for endpoint in client.endpoints() {
        match client.maintenance().status(&endpoint).await {
            Ok(status) => {
                let leads = status.leader == status.header.member_id;
                println!("{endpoint}: {} {} bytes, leads: {leads}", status.version, status.db_size_bytes);
            }
            Err(error) => println!("{endpoint}: {error}"),
        }
    }
    for member in client.cluster().member_list().await?.members {
        println!("{} {} {:?}, learner: {}", member.id, member.name, member.client_urls, member.is_learner);
    }
    Ok(())
}

async fn all_in_turn(client: &Client) -> Result<()> {
    set(client, &[("config/mode", "off"), ("config/limit", "10")]).await?;
    let before = set(client, &[("config/mode", "on"), ("config/limit", "20"), ("config/new", "1")]).await?;
    assert_eq!(before, [Some("off".to_owned()), Some("10".to_owned()), None]);
    for number in 0..20 {
        let puts = (0..100).map(|key| Op::put(format!("config/many/{number:02}{key:02}"), "x"));
        client.txn().and_then(puts).commit().await?;
    }
    assert_eq!(list(client, "config/").await?, 2003);
    assert_eq!(list_in_pages(client, "config/").await?, 2003);
    let gone = client.delete("config/many/").prefix().await?;
    watch(client, "config/", Some(gone.header.revision)).await?;
    status(client).await
}
