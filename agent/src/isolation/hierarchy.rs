//! Where the cgroup hierarchies are mounted, and where in them we stand.

use std::path::{Path, PathBuf};

use super::group::Version;

/// One mounted hierarchy, and our own group in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    /// Controllers of a v1 hierarchy; empty for v2, whose controllers each group lists itself.
    pub(super) controllers: Vec<String>,
    /// The directory of our own group: never assumed to be the root.
    pub(super) own: PathBuf,
}

impl Hierarchy {
    /// Whether our own v2 group could give one of these controllers to its children.
    pub(super) fn offers(&self, wanted: &[&str]) -> bool {
        std::fs::read_to_string(self.own.join("cgroup.controllers"))
            .is_ok_and(|text| text.split_whitespace().any(|name| wanted.contains(&name)))
    }
}

/// Reads /proc/self/mountinfo and /proc/self/cgroup.
pub(super) fn parse_hierarchies(mountinfo: &str, cgroup: &str) -> Vec<Hierarchy> {
    mountinfo
        .lines()
        .filter_map(|line| parse_mount(line, cgroup))
        .collect()
}

fn parse_mount(line: &str, cgroup: &str) -> Option<Hierarchy> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let (root, mount_point) = (unescape(before.next()?), unescape(before.next()?));
    let mut after = after.split(' ');
    let version = match after.next()? {
        "cgroup" => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    let options: Vec<&str> = after.nth(1)?.split(',').collect();
    let (path, controllers) = cgroup.lines().find_map(|entry| {
        let mut parts = entry.splitn(3, ':');
        let (number, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
        let is_this = match version {
            Version::V2 => number == "0" && names.is_empty(),
            Version::V1 => !names.is_empty() && names.iter().all(|name| options.contains(name)),
        };
        is_this.then(|| {
            (
                path.to_owned(),
                names.iter().map(|name| (*name).to_owned()).collect(),
            )
        })
    })?;
    // A mount may show only a part of the hierarchy, as in a container.
    let below = if root == "/" {
        path.as_str()
    } else {
        path.strip_prefix(root.as_str())?
    };
    Some(Hierarchy {
        version,
        controllers,
        own: Path::new(&mount_point).join(below.trim_start_matches('/')),
    })
}

fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:1 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn a_hybrid_machine_shows_its_own_group_in_each_hierarchy() {
        let found = parse_hierarchies(
            HYBRID,
            "9:name=systemd:/\n4:memory:/api/94a0\n1:cpu,cpuacct:/\n0::/user\n",
        );
        let own = |controller: &str| {
            found
                .iter()
                .find(|one| one.controllers.iter().any(|name| name == controller))
                .map(|one| one.own.to_str().unwrap().to_owned())
        };
        assert_eq!(own("memory").unwrap(), "/sys/fs/cgroup/memory/api/94a0");
        assert_eq!(own("cpu").unwrap(), "/sys/fs/cgroup/cpu,cpuacct/");
        let unified = found.iter().find(|one| one.version == Version::V2).unwrap();
        assert_eq!(unified.own, Path::new("/sys/fs/cgroup/unified/user"));
    }

    #[test]
    fn a_mount_of_a_part_is_followed_and_one_that_does_not_hold_us_is_not() {
        let inside = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let found = parse_hierarchies(inside, "4:memory:/docker/abc/x\n");
        assert_eq!(
            found.first().unwrap().own,
            Path::new("/sys/fs/cgroup/memory/x")
        );
        assert!(parse_hierarchies(inside, "4:memory:/other\n").is_empty());
        assert!(parse_hierarchies("", "").is_empty());
    }
}
