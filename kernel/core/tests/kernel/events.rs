//! Rows of events: each names its event for as long as it is kept.

use kelson_kernel_core::{Records, RowKey, State};
use kelson_model::event::Event;
use kelson_model::id::Index;

use crate::world::{World, desired, service, spec};

#[test]
fn a_row_names_its_event_also_where_earlier_ones_of_its_entry_are_not_kept() {
    let mut world = World::new();
    let before = world.state.index;
    let objects = (0..Event::KEPT + 200).map(|n| desired(&service(&format!("s{n}")), spec("a", 0)));
    world.commit(objects.collect(), Vec::new());
    let state = &world.state;
    assert!(!state.knows_events_since(before));
    assert!(state.knows_events_since(state.index));
    let rows: Vec<(u64, u32)> = state
        .changed_since(before)
        .unwrap()
        .into_iter()
        .filter_map(|key| match key {
            RowKey::Event(index, place) => Some((index, place)),
            _ => None,
        })
        .collect();
    let kept: Vec<(u64, u32)> = state
        .events
        .iter()
        .map(|event| (event.index.0, event.place))
        .collect();
    assert_eq!(rows, kept);
    for (index, place) in rows {
        let event = state.event(Index(index), place).unwrap();
        assert_eq!((event.index.0, event.place), (index, place));
    }
    assert!(state.event(state.index, 0).is_none(), "it is not kept");
}

#[test]
fn events_of_a_snapshot_that_does_not_number_them_are_numbered() {
    let mut world = World::new();
    world.commit(
        vec![
            desired(&service("a"), spec("a", 0)),
            desired(&service("b"), spec("a", 0)),
        ],
        Vec::new(),
    );
    let mut older = Records::clone(&world.state);
    for event in older.events.iter_mut() {
        std::sync::Arc::make_mut(event).place = 0;
    }
    let read = State::from(older);
    assert_eq!(read.events, world.state.events);
    assert!(!read.knows_events_since(Index(0)));
}
