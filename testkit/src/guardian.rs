//! What ends a cluster whose owner could not: a test that was killed, a demo that was left by
//! Ctrl-C.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// Waits for the end of its input, which comes when the owner dies, however that happens; then
/// kills what has the data directory in its environment and removes the folder. It is told both by
/// its input, so that nothing about it names them.
const SCRIPT: &str = r#"
read -r data || exit 0
read -r folder || exit 0
cat >/dev/null
rounds=0
while [ $rounds -lt 100 ]; do
    found=
    for environ in $(grep -lsaF -e "$data" /proc/[0-9]*/environ); do
        pid=${environ#/proc/}
        kill -9 "${pid%/environ}" 2>/dev/null && found=yes
    done
    [ -n "$found" ] || break
    rounds=$((rounds + 1))
    sleep 0.05
done
rm -rf "$folder"
"#;

/// A shell in a process group of its own, so that a Ctrl-C at the owner's terminal does not reach
/// it.
#[derive(Debug)]
pub(crate) struct Guardian(Child);

impl Guardian {
    /// From now on `data` and `folder` do not outlive this process.
    pub(crate) fn watch(data: &Path, folder: &Path) -> Result<Guardian> {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start sh")?;
        if let Some(input) = &mut child.stdin {
            writeln!(input, "{}\n{}", data.display(), folder.display()).context("sh has ended")?;
        }
        Ok(Guardian(child))
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::deadline::{Look, wait_for};
    use std::time::Duration;

    #[test]
    fn when_the_owner_is_gone_what_it_started_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let mut orphan = Command::new("sleep")
            .arg("600")
            .env("SOMETHING", &inner)
            .spawn()
            .unwrap();
        let mut guardian = Guardian::watch(&inner, &inner).unwrap();
        assert!(orphan.try_wait().unwrap().is_none());
        // What the end of the owner does.
        drop(guardian.0.stdin.take());
        let ended = wait_for("the orphan is dead", Duration::from_secs(20), || {
            Ok(orphan
                .try_wait()?
                .map_or(Look::NotYet("it lives".into()), Look::Found))
        });
        assert!(!ended.unwrap().success());
        guardian.0.wait().unwrap();
        assert!(!inner.exists());
    }
}
