//! The names of an address: what the system's resolver does not tell without C. The hosts file is asked first, then the name servers
//! of the system. Only members whose certificates have names with a wildcard need it.

use crate::limits;
use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const HOSTS: &str = "/etc/hosts";
const RESOLVERS: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// The kind of record that leads from an address to a name.
const PTR: u16 = 12;
const INTERNET: u16 = 1;
const HEADER_BYTES: usize = 12;
/// Labels of one name, and jumps on the way to its end.
const NAME_STEPS_MAX: usize = 256;

/// The names of an address, without the dot at their end.
///
/// # Errors
/// No name server answers.
pub(super) async fn names_of(address: IpAddr) -> io::Result<Vec<String>> {
    let hosts = read(HOSTS).await;
    let names = names_in_hosts(&hosts, address);
    if !names.is_empty() {
        return Ok(names);
    }
    let resolvers = read(RESOLVERS).await;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no name server is configured");
    for server in servers_in(&resolvers).into_iter().take(limits::NAME_SERVERS_MAX) {
        match ask(SocketAddr::new(server, PORT), address).await {
            Ok(names) => return Ok(names),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A file of the system; nothing if there is none.
async fn read(path: &'static str) -> String {
    let reading = tokio::task::spawn_blocking(move || std::fs::read_to_string(path).unwrap_or_default());
    reading.await.unwrap_or_default()
}

fn names_in_hosts(hosts: &str, address: IpAddr) -> Vec<String> {
    let mut names = Vec::new();
    for line in hosts.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        if words.next().and_then(|word| word.parse::<IpAddr>().ok()) == Some(address) {
            names.extend(words.map(|word| word.trim_end_matches('.').to_owned()));
        }
    }
    names
}

fn servers_in(resolvers: &str) -> Vec<IpAddr> {
    let words = resolvers.lines().map(str::split_whitespace);
    words
        .filter_map(|mut words| match (words.next(), words.next()) {
            (Some("nameserver"), Some(server)) => server.split('%').next()?.parse().ok(),
            _ => None,
        })
        .collect()
}

async fn ask(server: SocketAddr, address: IpAddr) -> io::Result<Vec<String>> {
    let any: IpAddr = match server.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let id: u16 = rand::random();
    socket.send(&query(id, address)).await?;
    let receiving = async {
        let mut answer = vec![0; limits::NAME_ANSWER_BYTES_MAX];
        loop {
            let read = socket.recv(&mut answer).await?;
            // Anything else is somebody's guess.
            if answer[..read].starts_with(&id.to_be_bytes()) {
                let parsed = names_in_answer(&answer[..read]);
                return parsed
                    .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is no DNS"));
            }
        }
    };
    timeout(limits::NAME_SERVER_TIMEOUT, receiving)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn query(id: u16, address: IpAddr) -> Vec<u8> {
    let mut query = Vec::new();
    // One question, to be answered for us by the server.
    for word in [id, 0x0100, 1, 0, 0, 0] {
        query.extend_from_slice(&word.to_be_bytes());
    }
    for label in reversed(address).split('.') {
        query.push(u8::try_from(label.len()).unwrap_or(0));
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    for word in [PTR, INTERNET] {
        query.extend_from_slice(&word.to_be_bytes());
    }
    query
}

/// `4.3.2.1.in-addr.arpa`, and its like for IPv6.
fn reversed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let mut name = String::new();
            for byte in address.octets().iter().rev() {
                // Writing to a text cannot fail.
                write!(name, "{:x}.{:x}.", byte & 0xf, byte >> 4).ok();
            }
            name + "ip6.arpa"
        }
    }
}

/// The names in an answer; nothing if it is cut short or none. An error of the server is an answer without names.
fn names_in_answer(answer: &[u8]) -> Option<Vec<String>> {
    let word = |at: usize| Some(u16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    if word(2)? & 0x8000 == 0 {
        return None;
    }
    let (questions, records) = (word(4)?, word(6)?);
    let mut at = HEADER_BYTES;
    for _ in 0..questions {
        at = name_at(answer, at)?.1 + 4;
    }
    let mut names = Vec::new();
    for _ in 0..records {
        let after_name = name_at(answer, at)?.1;
        let (kind, bytes) = (word(after_name)?, usize::from(word(after_name + 8)?));
        let data = after_name + 10;
        if kind == PTR {
            names.push(name_at(answer, data)?.0);
        }
        at = data + bytes;
    }
    Some(names)
}

/// A name, and where what follows it begins.
fn name_at(answer: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels: Vec<String> = Vec::new();
    let mut end = None;
    for _ in 0..NAME_STEPS_MAX {
        let length = usize::from(*answer.get(at)?);
        match length {
            0 => return Some((labels.join("."), end.unwrap_or(at + 1))),
            // The rest stands somewhere else.
            0xc0.. => {
                end = end.or(Some(at + 2));
                at = (length & 0x3f) << 8 | usize::from(*answer.get(at + 1)?);
            }
            1..0x40 => {
                let label = answer.get(at + 1..at + 1 + length)?;
                labels.push(String::from_utf8_lossy(label).into_owned());
                at += 1 + length;
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 3, 7));

    /// An answer with one name, whose end is that of the question.
    fn answer_to(question: &[u8]) -> Vec<u8> {
        let mut answer = question.to_vec();
        answer[2] |= 0x80;
        answer[7] = 1;
        answer.extend_from_slice(&[0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 60, 0, 10]);
        // `in-addr.arpa` of the question stands at 12 + 2 + 2 + 2 + 3.
        answer.extend_from_slice(b"\x02m1\x04etcd\xc0\x15");
        answer
    }

    #[tokio::test]
    async fn a_name_server_is_asked() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let serving = async {
            let mut question = [0; 512];
            let (read, from) = server.recv_from(&mut question).await.unwrap();
            let answer = answer_to(&question[..read]);
            let mut forged = answer.clone();
            forged[0] ^= 1;
            server.send_to(&forged, from).await.unwrap();
            server.send_to(&answer, from).await.unwrap();
        };
        let (names, ()) = tokio::join!(ask(address, ADDRESS), serving);
        assert_eq!(names.unwrap(), ["m1.etcd.in-addr.arpa"]);
    }

    #[test]
    fn answers_that_are_cut_or_go_in_circles_are_none() {
        let whole = answer_to(&query(7, ADDRESS));
        assert_eq!(names_in_answer(&whole).unwrap(), ["m1.etcd.in-addr.arpa"]);
        for length in 0..whole.len() {
            assert_eq!(names_in_answer(&whole[..length]), None, "{length}");
        }
        let mut circle = query(7, ADDRESS);
        circle[2] |= 0x80;
        circle[7] = 1;
        let at = u8::try_from(circle.len()).unwrap();
        circle.extend_from_slice(&[0xc0, at, 0, 12, 0, 1]);
        assert_eq!(names_in_answer(&circle), None);
        let mut nothing = query(7, ADDRESS);
        nothing[2] |= 0x80;
        nothing[3] = 3;
        assert_eq!(names_in_answer(&nothing), Some(Vec::new()), "there is no such name");
        assert_eq!(names_in_answer(&query(7, ADDRESS)), None, "a question is no answer");
    }

    #[test]
    fn names_of_addresses_and_files() {
        assert_eq!(reversed(ADDRESS), "7.3.0.10.in-addr.arpa");
        let six: IpAddr = "2001:db8::567:89ab".parse().unwrap();
        assert_eq!(reversed(six), "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
        let hosts = "127.0.0.1 localhost\n# 10.0.3.7 no\n10.0.3.7\tm1.etcd m1. # yes\n";
        assert_eq!(names_in_hosts(hosts, ADDRESS), ["m1.etcd", "m1"]);
        assert_eq!(servers_in("search x\nnameserver 10.0.0.10\nnameserver fe80::1%eth0\n").len(), 2);
    }
}
