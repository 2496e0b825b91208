//! Names of users and groups, as the machine's own /etc/passwd and /etc/group have them.

use super::{Host, HostError, HostPath};

/// The most that is read of /etc/passwd or /etc/group: 50,000 lines of 80 bytes.
const NAMES_BYTES_MAX: u64 = 4 << 20;

/// Who owns a thing, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ids {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// A user or group that this machine doesn't have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} {name:?} in {file} of this machine: make the {what}, or wish for another")]
pub struct NameError {
    what: &'static str,
    name: String,
    file: &'static str,
}

impl Host {
    /// The numbers of an owner and a group. One that isn't named is the one this process runs as, so root on a machine.
    ///
    /// # Errors
    ///
    /// The outer error: the files could not be read. The inner one: the machine has no such user or group.
    pub fn ids(&self, owner: Option<&str>, group: Option<&str>) -> Result<Result<Ids, NameError>, HostError> {
        let uid = match owner {
            None => Ok(rustix::process::geteuid().as_raw()),
            Some(name) => self.number("user", name, "/etc/passwd")?,
        };
        let gid = match group {
            None => Ok(rustix::process::getegid().as_raw()),
            Some(name) => self.number("group", name, "/etc/group")?,
        };
        Ok(uid.and_then(|uid| gid.map(|gid| Ids { uid, gid })))
    }

    fn number(&self, what: &'static str, name: &str, file: &'static str) -> Result<Result<u32, NameError>, HostError> {
        // Root is 0 on every Linux; a folder that plays a machine often has no /etc/passwd.
        if name == "root" {
            return Ok(Ok(0));
        }
        let missing = || NameError { what, name: name.to_owned(), file };
        let Ok(path) = HostPath::parse(file) else { return Ok(Err(missing())) };
        let table = self.read(&path, NAMES_BYTES_MAX)?.unwrap_or_default();
        // A name goes before a number, as in chown(1). (u32)-1 means "leave it" to the kernel and owns nothing.
        let plain = name.parse::<u32>().ok().filter(|number| *number != u32::MAX);
        Ok(find(&table, name).or(plain).ok_or_else(missing))
    }
}

/// The third field of the line whose first field is `name` (passwd(5), group(5)).
fn find(table: &[u8], name: &str) -> Option<u32> {
    table.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let number = (fields.next()? == name.as_bytes()).then(|| fields.nth(1)).flatten()?;
        std::str::from_utf8(number).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_a_table_of_any_quality() {
        let table =
            b"root:x:0:0::/root:/bin/sh\n\nbroken\nweb:x:notanumber:1\nweb:x:33:34::/:/bin/false\n\xff\xfe:x:1:1\nlast:x:7:8";
        for (name, number) in
            [("root", Some(0)), ("web", Some(33)), ("last", Some(7)), ("we", None), ("", None), ("broken", None)]
        {
            assert_eq!(find(table, name), number, "{name:?}");
        }
    }
}
