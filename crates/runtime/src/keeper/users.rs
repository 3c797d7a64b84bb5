//! Users and groups by name, from `/etc/passwd` and `/etc/group` (passwd(5), group(5)). Other sources of
//! users (LDAP and the like) are not asked: they need code that a process as small as this must not load.

use rustix::fs::{Gid, Uid};

use crate::sandbox::plan::Identity;

/// Reads `name|uid[:group|gid]`. Without a group it is the user's own, with all groups that list the user as
/// a member. A user number without an entry gets the group of the same number.
pub(super) fn resolve(text: &str, passwd: &str, group: &str) -> Result<Identity, String> {
    let (user_text, group_text) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 4 && (fields[0] == user_text || fields[2] == user_text));
    let user: u32 = match &entry {
        Some(fields) => fields[2].parse().map_err(|_| format!("/etc/passwd is damaged at `{user_text}`"))?,
        None => user_text.parse().map_err(|_| format!("no user `{user_text}` in /etc/passwd"))?,
    };
    let own_group = match &entry {
        Some(fields) => fields[3].parse().map_err(|_| format!("/etc/passwd is damaged at `{user_text}`"))?,
        None => user,
    };
    let Some(group_text) = group_text else {
        let name = entry.map_or("", |fields| fields[0]);
        let mut groups: Vec<Gid> = group
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .filter(|fields| fields.len() >= 4 && fields[3].split(',').any(|member| member == name))
            .filter_map(|fields| fields[2].parse().ok())
            .filter(|gid| !name.is_empty() && *gid != own_group)
            .map(Gid::from_raw)
            .collect();
        groups.insert(0, Gid::from_raw(own_group));
        return Ok(Identity { user: Uid::from_raw(user), group: Gid::from_raw(own_group), groups });
    };
    let listed = group
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 3 && (fields[0] == group_text || fields[2] == group_text));
    let number: u32 = match listed {
        Some(fields) => fields[2].parse().map_err(|_| format!("/etc/group is damaged at `{group_text}`"))?,
        None => group_text.parse().map_err(|_| format!("no group `{group_text}` in /etc/group"))?,
    };
    let group = Gid::from_raw(number);
    Ok(Identity { user: Uid::from_raw(user), group, groups: vec![group] })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/srv:/bin/false\n";
    const GROUP: &str = "root:x:0:\napp:x:1001:\ndocker:x:900:other,app\nweb:x:80:\n";

    fn check(text: &str) -> Result<(u32, u32, Vec<u32>), String> {
        let identity = resolve(text, PASSWD, GROUP)?;
        let groups = identity.groups.iter().map(|gid| gid.as_raw()).collect();
        Ok((identity.user.as_raw(), identity.group.as_raw(), groups))
    }

    #[test]
    fn users_and_groups_by_name_and_by_number() {
        assert_eq!(check("app"), Ok((1000, 1001, vec![1001, 900])));
        assert_eq!(check("1000"), Ok((1000, 1001, vec![1001, 900])));
        assert_eq!(check("app:web"), Ok((1000, 80, vec![80])));
        assert_eq!(check("app:"), Ok((1000, 1001, vec![1001, 900])));
        assert_eq!(check("4242"), Ok((4242, 4242, vec![4242])));
        assert_eq!(check("4242:77"), Ok((4242, 77, vec![77])));
    }

    #[test]
    fn who_does_not_exist_is_named() {
        assert_eq!(check("nobody-here"), Err("no user `nobody-here` in /etc/passwd".to_owned()));
        assert_eq!(check("app:nope"), Err("no group `nope` in /etc/group".to_owned()));
    }
}
