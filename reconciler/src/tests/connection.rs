//! A kernel that comes and goes.

use super::kernel::Mishap;
use super::stand::{Stand, service};

#[tokio::test]
async fn a_kernel_that_is_lost_in_the_middle_of_staging_is_staged_to_again() {
    let stand = Stand::with(&["web"]).await;
    // Several parts: a hundred objects of some kilobytes each.
    let padding = format!("command: web, env: {{A: \"{}\"}}", "x".repeat(6_000));
    let files: Vec<(String, String)> = (0..100)
        .map(|n| {
            let name = format!("s{n}");
            let content = service(&name, 1).replace("command: web", &padding);
            (format!("{name}.yaml"), content)
        })
        .collect();
    stand.kernel.mishap("stage", Mishap::AnswerLost);
    let kernel = stand.kernel.clone();
    stand.kernel.on("stage", move || kernel.break_watches());
    let commit = stand.commit(&files);
    stand.settled(&commit).await;
    stand.kernel.look(|state| {
        assert_eq!(state.objects.len(), 101);
        assert!(state.count("stage") > 4, "{:?}", state.requests);
    });
}

#[tokio::test]
async fn an_accept_whose_answer_is_lost_is_not_accepted_twice() {
    let stand = Stand::with(&["web"]).await;
    let accepts = stand.kernel.look(|state| state.count("accept"));
    stand.kernel.mishap("accept", Mishap::AnswerLost);
    let commit = stand.commit(&[("web.yaml", service("web", 2))]);
    stand.settled(&commit).await;
    stand.kernel.look(|state| {
        assert_eq!(state.count("accept"), accepts + 1);
        assert!(state.ledger.is_empty(), "it was taken for drift");
    });
}

#[tokio::test]
async fn a_report_that_is_lost_is_made_again() {
    let stand = Stand::with(&["web"]).await;
    stand.kernel.mishap("report", Mishap::Lost);
    let commit = stand.commit(&[("web.yaml", service("web", 2))]);
    stand.settled(&commit).await;
}
