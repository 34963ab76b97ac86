#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

#[test]
fn a_short_column_is_named() {
    let mut page = of_offers(&[Offer {
        id: 1,
        key: 2,
        agent: 3,
        count: 4,
    }]);
    page.count.clear();
    assert_eq!(offer(&page, 0).unwrap_err(), "column count has no row 0");
}

#[test]
fn an_unknown_state_is_an_error_not_a_guess() {
    let mut page = of_agents(&[Agent {
        id: 1,
        state: AgentState::Ready,
        free_cpus: 0,
        free_memory: 0,
        free_disk: 0,
    }]);
    page.agent_state = vec![17];
    assert!(agent(&page, 0).unwrap_err().contains("17"));
}
