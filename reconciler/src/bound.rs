//! How much one request says: it has to fit into one entry of the kernel's log.

use kelson_model::drift::DriftItem;
use kelson_model::source::{Fault, Held};
use kelson_reconciler_core::codes::Code;
use serde::Serialize;

/// All faults of a report together, or all items of an update, as JSON.
const BYTES: usize = 150 << 10;
/// Faults of one report.
const FAULTS: usize = 1_000;
/// Objects that a hold names.
const HELD: usize = 300;

/// Cuts what is said of a source.
pub(crate) fn report(held: &mut Option<Held>, errors: &mut Vec<Fault>) {
    if let Some(held) = held {
        held.objects.truncate(HELD);
    }
    let fitting = fitting(errors).min(FAULTS);
    if fitting < errors.len() {
        let more = errors.len() - fitting + 1;
        errors.truncate(fitting.saturating_sub(1));
        errors.push(Fault {
            code: Code::TooManyFaults.id().to_owned(),
            file: String::new(),
            line: 0,
            column: 0,
            message: format!("{more} more faults are not listed"),
            hint: "`kelson validate` lists them".to_owned(),
            source_line: String::new(),
        });
    }
}

/// Cuts drift items; those that are left out come in when others have healed.
pub(crate) fn items(items: &mut Vec<DriftItem>) {
    items.truncate(fitting(items));
}

fn fitting<T: Serialize>(list: &[T]) -> usize {
    let mut total = 0_usize;
    list.iter()
        .take_while(|item| {
            total += serde_json::to_vec(item).map_or(BYTES, |json| json.len() + 1);
            total <= BYTES
        })
        .count()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_report_of_very_many_faults_is_cut_and_says_so() {
        let fault = |n: u32| Fault {
            code: "K0102".to_owned(),
            file: "web.yaml".to_owned(),
            line: n,
            column: 1,
            message: "x".repeat(300),
            hint: String::new(),
            source_line: String::new(),
        };
        let mut few: Vec<Fault> = (0..10).map(fault).collect();
        report(&mut None, &mut few);
        assert_eq!(few.len(), 10);
        let mut many: Vec<Fault> = (0..5_000).map(fault).collect();
        report(&mut None, &mut many);
        assert!(serde_json::to_vec(&many).unwrap().len() <= BYTES + 300);
        let last = many.last().unwrap();
        assert_eq!(last.code, "K0126");
        let named = format!("{} more", 5_000 - (many.len() - 1));
        assert!(last.message.starts_with(&named), "{}", last.message);
    }
}
