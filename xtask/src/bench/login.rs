//! Users, and what their log-ins cost.

use super::{
    Arguments,
    load::{self, key, request},
    subject::Subject,
};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tenure_api::{
    authpb::{Permission, permission},
    etcdserverpb as pb,
    etcdserverpb::{auth_client::AuthClient, kv_client::KvClient},
};
use tonic::{Code, Status, transport::Channel};

/// Clients that log in at once.
const CLIENTS: usize = 1_000;

/// Users, each with a password of his own.
const USERS: usize = 100;

const ROOT: &str = "root";

/// Attempts of a client, and the pause between two of them.
const ATTEMPTS_MAX: usize = 100;
const RETRY_PAUSE: Duration = Duration::from_millis(100);

fn name(number: usize) -> String {
    format!("user-{number}")
}

fn password(number: usize) -> String {
    format!("password-{number}")
}

/// Makes root and the users, who may do everything to the keys of the bench, and switches authentication on.
pub async fn enable(channel: &Channel) -> Result<()> {
    let mut auth = AuthClient::new(channel.clone());
    for role in [ROOT, "bench"] {
        auth.role_add(pb::AuthRoleAddRequest { name: role.to_owned() }).await?;
    }
    let keys = Permission {
        perm_type: permission::Type::Readwrite.into(),
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
    };
    auth.role_grant_permission(pb::AuthRoleGrantPermissionRequest {
        name: "bench".to_owned(),
        perm: Some(keys),
    })
    .await?;
    let users = (0..USERS).map(|number| (name(number), password(number), "bench"));
    for (name, password, role) in std::iter::once((ROOT.to_owned(), ROOT.to_owned(), ROOT)).chain(users) {
        auth.user_add(pb::AuthUserAddRequest { name: name.clone(), password, ..Default::default() }).await?;
        auth.user_grant_role(pb::AuthUserGrantRoleRequest { user: name, role: role.to_owned() }).await?;
    }
    auth.auth_enable(pb::AuthEnableRequest {}).await?;
    Ok(())
}

/// The token of a user.
pub async fn log_in(channel: &Channel, name: &str, password: &str) -> Result<String> {
    let request = pb::AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
    Ok(AuthClient::new(channel.clone()).authenticate(request).await?.into_inner().token)
}

/// Logs in as a client does that is told to try again: how often it was.
async fn log_in_patiently(channel: &Channel, name: &str, password: &str) -> Result<usize> {
    for repeated in 0..ATTEMPTS_MAX {
        match log_in(channel, name, password).await {
            Ok(_) => return Ok(repeated),
            Err(error) => {
                let status = error.downcast::<Status>()?;
                ensure!(matches!(status.code(), Code::Unavailable | Code::ResourceExhausted), status);
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    bail!("not logged in after {ATTEMPTS_MAX} attempts")
}

/// A thousand clients that log in at once, all as one user whom the server has never seen, then as a hundred, while somebody
/// else puts.
pub async fn measure(subject: &mut Subject, arguments: &Arguments) -> Result<()> {
    let urls = subject.urls(arguments.spread).await?;
    let channel = load::connect(&urls[..1], 1).await?.remove(0);
    enable(&channel).await?;
    let token = log_in(&channel, ROOT, ROOT).await?;
    for round in 0..arguments.rounds {
        for users in [1, USERS] {
            // What was verified is forgotten when users change.
            forget(&channel, &token).await?;
            // Their tokens may all be old now.
            let token = log_in(&channel, ROOT, ROOT).await?;
            let channels = load::connect(&urls, CLIENTS).await?;
            let done = Arc::new(AtomicBool::new(false));
            let puts = tokio::spawn(put_meanwhile(channel.clone(), token.clone(), done.clone()));
            tokio::time::sleep(Duration::from_millis(200)).await;
            let (started, cpu) = (Instant::now(), subject.cpu().await?);
            let log_ins = channels.iter().take(CLIENTS).enumerate().map(|(number, channel)| async move {
                let user = (round + number) % users;
                let repeated = log_in_patiently(channel, &name(user), &password(user)).await?;
                anyhow::Ok((started.elapsed(), repeated))
            });
            let mut times = try_join_all(log_ins).await?;
            let (took, cpu) = (started.elapsed(), subject.cpu().await?.saturating_sub(cpu));
            done.store(true, Ordering::Relaxed);
            let (count, slowest) = puts.await??;
            times.sort_unstable();
            println!(
                "login             {:<14} {CLIENTS} clients of {users:>3} user(s): all in after {:.2} s, half after {:.2} s, \
                 {} told to try again, cpu {:.2} s; \
                 meanwhile {count} puts one after the other, the slowest {:.1} ms",
                subject.name,
                took.as_secs_f64(),
                times[times.len() / 2].0.as_secs_f64(),
                times.iter().map(|(_, repeated)| repeated).sum::<usize>(),
                cpu.as_secs_f64(),
                slowest.as_secs_f64() * 1e3,
            );
        }
    }
    Ok(())
}

/// Changes users, which raises the auth revision.
async fn forget(channel: &Channel, token: &str) -> Result<()> {
    let token = match log_in(channel, ROOT, ROOT).await {
        Ok(fresh) => fresh,
        Err(_) => token.to_owned(),
    };
    let mut auth = AuthClient::new(channel.clone());
    let role = "nobody".to_owned();
    auth.role_add(request(pb::AuthRoleAddRequest { name: role.clone() }, Some(&token))?).await?;
    let token = log_in(channel, ROOT, ROOT).await?;
    auth.role_delete(request(pb::AuthRoleDeleteRequest { role }, Some(&token))?).await?;
    Ok(())
}

/// Puts one key after the other until it is done: how many, and how long the slowest took.
async fn put_meanwhile(channel: Channel, token: String, done: Arc<AtomicBool>) -> Result<(u64, Duration)> {
    let mut kv = KvClient::new(channel);
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while !done.load(Ordering::Relaxed) {
        let put = pb::PutRequest { key: key(count), value: "v".into(), ..Default::default() };
        let started = Instant::now();
        kv.put(request(put, Some(&token))?).await.context("a put while others log in")?;
        slowest = slowest.max(started.elapsed());
        count += 1;
    }
    Ok((count, slowest))
}
