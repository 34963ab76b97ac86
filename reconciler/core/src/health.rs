//! Health of many objects as one word.

use kelson_model::object::Health;

/// The health that stands for all of them: the worst. Without any, all is well.
///
/// From good to bad: Healthy, Suspended (a person wants it so), Progressing, Missing, Degraded,
/// Unknown.
pub fn roll_up(healths: impl IntoIterator<Item = Health>) -> Health {
    healths
        .into_iter()
        .max_by_key(|health| badness(*health))
        .unwrap_or(Health::Healthy)
}

fn badness(health: Health) -> u8 {
    match health {
        Health::Healthy => 0,
        Health::Suspended => 1,
        Health::Progressing => 2,
        Health::Missing => 3,
        Health::Degraded => 4,
        Health::Unknown => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_degraded_object_is_seen_among_healthy_ones() {
        assert_eq!(
            roll_up([Health::Healthy, Health::Degraded, Health::Progressing]),
            Health::Degraded
        );
        assert_eq!(
            roll_up([Health::Suspended, Health::Healthy]),
            Health::Suspended
        );
        assert_eq!(roll_up([]), Health::Healthy);
    }
}
