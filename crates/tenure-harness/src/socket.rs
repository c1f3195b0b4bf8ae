//! Whose a TCP connection is, as the kernel says.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::Path,
};

/// A socket of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    inode: u64,
}

/// The socket at `local` that is connected to `remote`, if it is on this machine and not closed. Both are of IPv4.
///
/// # Errors
/// The kernel's table cannot be read, or an address is not of IPv4.
pub fn find(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<Socket>> {
    let (local, remote) = (in_table(local)?, in_table(remote)?);
    let table = fs::read_to_string("/proc/net/tcp")?;
    let mut rows = table.lines().map(|line| line.split_ascii_whitespace());
    // One that is closed, and lingers, is of nobody: its inode is 0.
    let inode = rows.find_map(|mut row| {
        let is_it = row.nth(1) == Some(&local) && row.next() == Some(&remote);
        is_it.then(|| row.nth(6)?.parse().ok()).flatten()
    });
    Ok(inode.filter(|inode| *inode != 0).map(|inode| Socket { inode }))
}

/// An address as the kernel's table has it: four bytes as a number of this machine, and the port.
fn in_table(address: SocketAddr) -> io::Result<String> {
    let IpAddr::V4(ip) = address.ip() else { return Err(io::ErrorKind::Unsupported.into()) };
    Ok(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()))
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
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};

    #[test]
    fn a_connection_is_of_the_process_that_made_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let stream = TcpStream::connect(here).unwrap();
        let caller = stream.local_addr().unwrap();
        let mut other = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();

        let socket = find(caller, here).unwrap().unwrap();
        assert!(socket.is_of(std::process::id()));
        assert!(!socket.is_of(other.id()));
        assert_ne!(find(here, caller).unwrap(), Some(socket), "that is the other end");
        drop(stream);
        assert_eq!(find(caller, here).unwrap(), None, "it is closed");

        drop(other.stdin.take());
        other.wait().unwrap();
    }

    #[test]
    fn who_is_not_connected_has_no_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        assert_eq!(find("127.0.0.1:1".parse().unwrap(), here).unwrap(), None);
        assert!(find("[::1]:1".parse().unwrap(), here).is_err());
    }
}
