//! After the acts: a cluster to play with.

use std::time::Duration;

use anyhow::Result;

use super::stage::Stage;

/// Says what can be done, then repeats what `kelson dev` says until it ends. Ctrl-C ends this
/// process, and with it the cluster.
pub(crate) fn run_until_ended(stage: &mut Stage) -> Result<()> {
    let repo = stage.repo.path().display().to_string();
    let programs = kelson_testkit::programs::folder()?;
    println!(
        "\nThe cluster stays up; Ctrl-C ends it. In another terminal:\n\n  \
         export PATH={}:$PATH KELSON_ADDR={}\n  \
         cd {repo}\n  \
         kelson status -A; kelson tasks -A; kelson drift -A\n  \
         $EDITOR kelson/web.yaml && git commit -am 'my change'\n\n\
         What kelson dev says:",
        programs.display(),
        stage.dev.address()
    );
    let mut shown = stage.dev.said().len();
    loop {
        let said = stage.dev.said();
        print!("{}", said.get(shown..).unwrap_or_default());
        shown = said.len();
        if let Some(status) = stage.dev.has_ended()? {
            println!("kelson dev has ended: {status}");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
