//! A short storm; `cargo xtask storm` has longer ones.

use std::time::Duration;

use kelson_testkit::storm;

#[test]
fn after_random_kills_and_stops_of_every_process_all_is_as_git_says_and_each_task_ran_once() {
    let weather = storm::rage(1, Duration::from_secs(12), |_| ()).unwrap();
    assert!(weather.commits > 0, "{weather:?}");
    assert!(!weather.killed.is_empty(), "{weather:?}");
    assert!(!weather.stopped.is_empty(), "{weather:?}");
    assert!(weather.starts >= 6, "{weather:?}");
}
