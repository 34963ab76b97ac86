//! Which offer each start takes: spread over the agents that have the fewest tasks of the Service.

use std::collections::{BTreeMap, BTreeSet};

use kelson_sdk::Offer;

use crate::view::Start;

/// A start and the offer that it takes.
pub(crate) struct Placed {
    pub(crate) slot: u32,
    pub(crate) offer: Offer,
}

/// Gives offers to starts, most urgent first; what is left over has none. `load` says how many
/// tasks of the Service an agent has.
pub(crate) fn place(
    starts: &[Start],
    offers: &[Offer],
    load: &BTreeMap<u32, u32>,
) -> (Vec<Placed>, Vec<Start>) {
    // By load and then by the order of the offers, so that the same rows give the same places.
    let mut room: BTreeSet<(u32, usize)> = BTreeSet::new();
    let mut left: Vec<u32> = Vec::with_capacity(offers.len());
    for (place, offer) in offers.iter().enumerate() {
        left.push(offer.count);
        if offer.count > 0 {
            room.insert((load.get(&offer.agent).copied().unwrap_or(0), place));
        }
    }
    let mut placed = Vec::new();
    let mut unmet = Vec::new();
    for start in starts {
        let best = room.pop_first().and_then(|(load, place)| {
            let offer = offers.get(place)?;
            let count = left.get_mut(place)?;
            *count -= 1;
            if *count > 0 {
                room.insert((load.saturating_add(1), place));
            }
            Some(*offer)
        });
        match best {
            Some(offer) => placed.push(Placed {
                slot: start.slot,
                offer,
            }),
            None => unmet.push(*start),
        }
    }
    (placed, unmet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(id: u32, agent: u32, count: u32) -> Offer {
        Offer {
            id,
            key: 1,
            agent,
            count,
        }
    }

    fn starts(count: u32) -> Vec<Start> {
        (0..count).map(|slot| Start { slot, since: 0 }).collect()
    }

    #[test]
    fn tasks_go_where_the_service_has_the_fewest() {
        let load = BTreeMap::from([(1, 2)]);
        let (placed, unmet) = place(&starts(4), &[offer(0, 1, 5), offer(1, 2, 5)], &load);
        let agents: Vec<u32> = placed.iter().map(|placed| placed.offer.agent).collect();
        assert_eq!(agents, [2, 2, 1, 2]);
        assert!(unmet.is_empty());
    }

    #[test]
    fn no_offer_is_used_more_often_than_it_counts() {
        let (placed, unmet) = place(
            &starts(5),
            &[offer(0, 1, 2), offer(1, 2, 0), offer(2, 3, 1)],
            &BTreeMap::new(),
        );
        assert_eq!(placed.len(), 3);
        assert_eq!(
            unmet.iter().map(|start| start.slot).collect::<Vec<_>>(),
            [3, 4]
        );
    }
}
