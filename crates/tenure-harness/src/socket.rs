//! Whose a TCP connection is, as the kernel says.
//!
//! `sock_diag` is asked for one socket, which costs some microseconds however many there are; to read `/proc/net/tcp` for each connection
//! takes a processor when members whose links are reset dial all the time.

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};
use std::{fs, io, net::SocketAddrV4, path::Path};

/// `SOCK_DIAG_BY_FAMILY` and `NLMSG_ERROR` of netlink.
const BY_FAMILY: u16 = 20;
const ERROR: u16 = 2;
/// Where an answer says how the question failed, and the socket's inode.
const ERROR_AT: usize = 16;
const INODE_AT: usize = 84;

/// A socket of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    inode: u32,
}

/// The socket at `local` that is connected to `remote`, if it is on this machine and not closed.
///
/// # Errors
/// The kernel does not tell: it is built without `INET_DIAG`.
pub fn find(local: SocketAddrV4, remote: SocketAddrV4) -> io::Result<Option<Socket>> {
    let netlink = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    send(&netlink, &question(local, remote), SendFlags::empty())?;
    let mut answer = [0; 1024];
    let (_, bytes) = recv(&netlink, &mut answer, RecvFlags::empty())?;
    let answer = &answer[..bytes];
    let number = |at: usize| -> io::Result<u32> {
        let four = answer.get(at..at + 4).and_then(|four| four.try_into().ok());
        four.map(u32::from_ne_bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    };
    if answer.get(4..6) == Some(&ERROR.to_ne_bytes()) {
        let error = io::Error::from_raw_os_error(number(ERROR_AT)?.cast_signed().wrapping_neg());
        return if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) };
    }
    let inode = number(INODE_AT)?;
    // One that is closed, and lingers, is of nobody.
    Ok((inode != 0).then_some(Socket { inode }))
}

/// `struct nlmsghdr`, and `struct inet_diag_req_v2` for one socket of TCP over IPv4.
fn question(local: SocketAddrV4, remote: SocketAddrV4) -> Vec<u8> {
    const REQUEST: u16 = 1;
    const BYTES: u32 = 72;
    const INET: u8 = 2;
    const TCP: u8 = 6;
    let mut question = Vec::new();
    question.extend(BYTES.to_ne_bytes());
    question.extend([BY_FAMILY, REQUEST].map(u16::to_ne_bytes).concat());
    // Sequence, sender; family, protocol, extensions; states.
    question.extend([0; 8]);
    question.extend([INET, TCP, 0, 0]);
    question.extend(u32::MAX.to_ne_bytes());
    question.extend([local, remote].map(|address| address.port().to_be_bytes()).concat());
    for address in [local, remote] {
        question.extend(address.ip().octets());
        question.extend([0; 12]);
    }
    // Any interface, and no cookie.
    question.extend([0; 4]);
    question.extend([u8::MAX; 8]);
    question
}

impl Socket {
    /// Whether a process has it open. Of a process that has ended, or of another user, it is said that it has not.
    #[must_use]
    pub fn is_of(&self, process_id: u32) -> bool {
        let name = format!("socket:[{}]", self.inode);
        let Ok(open) = fs::read_dir(format!("/proc/{process_id}/fd")) else { return false };
        open.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to == Path::new(&name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::process::{Command, Stdio};

    fn v4(address: SocketAddr) -> SocketAddrV4 {
        let SocketAddr::V4(address) = address else { panic!("{address}") };
        address
    }

    #[test]
    fn a_connection_is_of_the_process_that_made_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = v4(listener.local_addr().unwrap());
        let stream = TcpStream::connect(here).unwrap();
        let caller = v4(stream.local_addr().unwrap());
        let (accepted, _) = listener.accept().unwrap();
        let mut other = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();

        let socket = find(caller, here).unwrap().unwrap();
        assert!(socket.is_of(std::process::id()));
        assert!(!socket.is_of(other.id()));
        assert_ne!(find(here, caller).unwrap().unwrap(), socket, "that is the other end");
        drop(stream);
        assert_eq!(find(caller, here).unwrap(), None, "it is closed, and lingers");
        drop(accepted);

        drop(other.stdin.take());
        other.wait().unwrap();
    }

    #[test]
    fn who_is_not_connected_has_no_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = v4(listener.local_addr().unwrap());
        assert_eq!(find("127.0.0.1:1".parse().unwrap(), here).unwrap(), None);
    }
}
