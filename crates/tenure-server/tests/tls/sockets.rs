//! Bare sockets: those that say nothing, and those that speak something else.

use crate::support::{Member, World, curl, exchange, soon, success, text};
use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
    time::Instant,
};
use tenure_harness::PATIENCE;
use tenure_server::limits::TLS_HANDSHAKE_TIMEOUT;

/// Whether the other side has closed, in order.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 16]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            false
        }
    }
}

/// A15: GHSA-6vch-q96h-7gc3.
#[test]
fn a15_clients_that_do_not_shake_hands_keep_nobody_out_and_are_closed_at_the_deadline() {
    const IDLE: usize = 1_000;
    let world = World::new();
    let member = Member::start(&world, &world.strict_flags());
    let begun = Instant::now();
    let mut idle: Vec<TcpStream> = (0..IDLE).map(|_| TcpStream::connect(&member.address).unwrap()).collect();
    let all_there = Instant::now();
    for stream in &mut idle {
        stream.set_nonblocking(true).unwrap();
    }
    // One who stops in the middle of a word is no better.
    std::io::Write::write_all(&mut idle[0], &[0x16, 0x03, 0x01, 0x02]).unwrap();
    if let Some(mut curl) = curl(&world, Some(&world.alice)) {
        success(curl.arg(member.url() + "/health"));
    }
    // Served while the others wait, unless this machine was held up for longer than they may.
    assert!(
        !is_closed(&mut idle[IDLE - 1]) || all_there.elapsed() >= TLS_HANDSHAKE_TIMEOUT,
        "nobody is closed before the deadline"
    );
    let all_closed = soon(|| {
        idle.retain_mut(|stream| !is_closed(stream));
        idle.is_empty()
    });
    assert!(all_closed, "{} are open", idle.len());
    assert!(begun.elapsed() >= TLS_HANDSHAKE_TIMEOUT);
    member.rejection("tls: no handshake within 10s");
}

#[test]
fn when_too_many_wait_the_oldest_gives_way() {
    const IDLE: usize = 1_100;
    let world = World::new();
    let member = Member::start(&world, &world.server_flags());
    let mut idle: Vec<TcpStream> = (0..IDLE).map(|_| TcpStream::connect(&member.address).unwrap()).collect();
    let oldest = idle[0].local_addr().unwrap().to_string();
    idle[0].set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(is_closed(&mut idle[0]), "the oldest is closed");
    // And not because it was silent for too long.
    member.line(|line| {
        text(line, "error").contains("tls: too many handshakes wait") && text(line, "remote-addr") == oldest
    });
    let Some(mut curl) = curl(&world, None) else { return };
    success(curl.arg(member.url() + "/health"));
}

#[test]
fn http_without_tls_on_a_port_with_it_is_told_so() {
    let world = World::new();
    let member = Member::start(&world, &world.server_flags());
    let answer = exchange(&member.address, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(answer, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
    let line = member.rejection("tls: first record does not look like a TLS handshake");
    assert!(text(&line, "error").contains("HTTP without TLS") && line["level"] == "warn", "{line}");
    assert_eq!(exchange(&member.address, b"\0\x01nonsense"), b"");
    // A TLS record of nonsense.
    assert_eq!(exchange(&member.address, b"\x16\x03\x01\0\x05\x09\0\0\x01\0"), b"");
    member.rejection("tls: received unexpected handshake message");
    let Some(mut curl) = curl(&world, None) else { return };
    let said = success(curl.arg(format!("http://{}/health", member.address)));
    assert!(said.contains("Client sent an HTTP request to an HTTPS server"), "{said}");
}

#[test]
fn tls_on_a_port_without_it_is_told_so() {
    let world = World::new();
    let member = Member::listening(&world, "http://127.0.0.1:0", &[]);
    let answer = exchange(&member.address, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03");
    assert!(answer.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
    let line = member.line(|line| line["msg"] == "rejected connection without TLS");
    assert!(text(&line, "error").contains("http://") && line["level"] == "warn", "{line}");
    if let Some(mut curl) = curl(&world, None) {
        let said = crate::support::failure(curl.arg(member.url() + "/health"));
        assert!(said.contains("wrong version number"), "{said}");
    }
    let answer =
        exchange(&member.address, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(String::from_utf8(answer).unwrap().ends_with("ok\n"), "others are served");

    drop(member);
    let path = world.path("plain.sock");
    let member = Member::listening(&world, &format!("unix://{}", path.display()), &[]);
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    std::io::Write::write_all(&mut stream, b"\x16\x03\x01").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"));
    member.line(|line| line["msg"] == "rejected connection without TLS");
}
