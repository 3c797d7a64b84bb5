//! Who holds a port, for the message that says it is in use.

use std::fs;
use std::path::Path;

/// A process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its command name.
    pub command: String,
}

/// The end of a message that says a port is taken: by whom, where that is known.
pub(crate) fn held_by(holder: &Option<Holder>) -> String {
    holder.as_ref().map_or_else(String::new, |holder| {
        format!(": `{}` (process {}) holds the port", holder.command, holder.pid)
    })
}

/// Who listens on TCP port `port`, from `/proc/net/tcp{,6}` and the open files of processes that may be
/// looked at. `None` if nobody does or it cannot be told.
pub fn of_tcp_port(port: u16) -> Option<Holder> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, port))?;
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if has_open(&process.path(), &wanted) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(Holder { pid, command: command.trim().to_owned() });
        }
    }
    None
}

/// The inode of the socket in state LISTEN (0A) on `port`, in the format of proc(5).
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        (local.ends_with(&suffix) && state == "0A").then(|| inode.parse().ok())?
    })
}

fn has_open(process: &Path, wanted: &str) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(of_tcp_port(port).unwrap().pid, std::process::id());
        drop(listener);
        assert_eq!(of_tcp_port(port), None);
    }
}
