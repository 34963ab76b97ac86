//! The demand of a seat, and what a turn makes of it.

use std::collections::BTreeMap;

use crate::port::Demand;

/// Most rows of demand that a seat may hold.
pub const MOST_DEMANDS: usize = 100_000;

/// The demand that a turn leaves behind: `whole` replaces what is held, then each of `changes`
/// replaces the row of its key, ends it (`count` 0) or is added. Nothing where it is what is held
/// already.
///
/// # Errors
/// There would be more rows than a seat may hold.
pub fn demand_after(
    held: &[Demand],
    whole: Option<&[Demand]>,
    changes: &[Demand],
) -> Result<Option<Vec<Demand>>, String> {
    let mut rows: Vec<Demand> = whole.unwrap_or(held).to_vec();
    if !changes.is_empty() {
        let mut places: BTreeMap<u64, usize> = rows
            .iter()
            .enumerate()
            .map(|(place, row)| (row.key, place))
            .collect();
        for change in changes {
            match places.get(&change.key).and_then(|at| rows.get_mut(*at)) {
                Some(row) => row.clone_from(change),
                None => {
                    places.insert(change.key, rows.len());
                    rows.push(change.clone());
                }
            }
        }
        rows.retain(|row| row.count > 0);
    }
    if rows.len() > MOST_DEMANDS {
        return Err(format!(
            "the demand would have {} rows; a seat may hold {MOST_DEMANDS}",
            rows.len()
        ));
    }
    Ok((rows != held).then_some(rows))
}

/// The changes that make `wanted` of `held`, those that end rows first.
pub fn demand_changes(held: &[Demand], wanted: &[Demand]) -> Vec<Demand> {
    let kept: BTreeMap<u64, &Demand> = wanted.iter().map(|row| (row.key, row)).collect();
    let known: BTreeMap<u64, &Demand> = held.iter().map(|row| (row.key, row)).collect();
    let ended = held.iter().filter(|row| !kept.contains_key(&row.key));
    let ended = ended.map(|row| Demand {
        count: 0,
        ..row.clone()
    });
    let new = wanted.iter().filter(|row| known.get(&row.key) != Some(row));
    ended.chain(new.cloned()).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use kelson_model::id::WorkloadId;

    use super::*;
    use crate::port::Placement;

    fn row(key: u64, count: u32) -> Demand {
        Demand {
            key,
            workload: WorkloadId(1),
            generation: 1,
            template: 0,
            count,
            placement: Placement::Spread,
            priority: 0,
        }
    }

    #[test]
    fn a_change_replaces_adds_or_ends_the_row_of_its_key() {
        let held = [row(1, 1), row(2, 2), row(3, 3)];
        let changes = [row(2, 5), row(3, 0), row(4, 4)];
        let after = demand_after(&held, None, &changes).unwrap();
        assert_eq!(after.unwrap(), [row(1, 1), row(2, 5), row(4, 4)]);
    }

    #[test]
    fn a_whole_demand_replaces_what_is_held_before_the_changes_count() {
        let held = [row(1, 1)];
        let after = demand_after(&held, Some(&[row(7, 1)]), &[row(8, 1)]).unwrap();
        assert_eq!(after.unwrap(), [row(7, 1), row(8, 1)]);
    }

    #[test]
    fn what_changes_nothing_is_nothing() {
        let held = [row(1, 1), row(2, 2)];
        assert_eq!(demand_after(&held, None, &[row(2, 2)]).unwrap(), None);
        assert_eq!(demand_after(&held, None, &[row(9, 0)]).unwrap(), None);
        assert_eq!(demand_after(&held, Some(&held), &[]).unwrap(), None);
        assert_eq!(demand_after(&held, None, &[]).unwrap(), None);
    }

    #[test]
    fn the_changes_between_two_demands_lead_from_one_to_the_other() {
        let held = [row(1, 1), row(2, 2), row(3, 3)];
        let wanted = [row(2, 2), row(3, 4), row(9, 1)];
        let changes = demand_changes(&held, &wanted);
        assert_eq!(changes, [row(1, 0), row(3, 4), row(9, 1)]);
        let after = demand_after(&held, None, &changes).unwrap();
        assert_eq!(after.unwrap(), wanted);
        assert!(demand_changes(&wanted, &wanted).is_empty());
    }

    #[test]
    fn a_demand_has_a_size() {
        let rows = u64::try_from(MOST_DEMANDS).unwrap();
        let held: Vec<Demand> = (0..rows).map(|key| row(key, 1)).collect();
        assert!(demand_after(&held, None, &[row(rows, 1)]).is_err());
        assert!(demand_after(&held, None, &[row(0, 2)]).unwrap().is_some());
    }
}
