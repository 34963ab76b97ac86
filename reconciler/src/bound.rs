//! How much one request says: it has to fit into one entry of the kernel's log.

use kelson_model::code::Code;
use kelson_model::drift::DriftItem;
use kelson_model::reason::KeptReason;
use kelson_model::source::{Fault, Held, Kept};
use kelson_reconciler_core::plan::{Plan, Step, StepKind};
use serde::Serialize;

/// All faults of a report together, or all items of an update, as JSON.
const BYTES: usize = 150 << 10;
/// Faults of one report.
const FAULTS: usize = 1_000;
/// Objects that all holds of a report name together.
const HELD: usize = 300;
/// Their keys together, as JSON.
const HELD_BYTES: usize = 60 << 10;

/// Objects of which a report says why they are left as they are.
const KEPT: usize = 300;
/// What is said of them together, as JSON.
const KEPT_BYTES: usize = 16 << 10;
/// Characters of what is said of one of them.
const KEPT_CHARS: usize = 300;

/// Cuts what is said of a source.
pub(crate) fn report(holds: &mut [Held], errors: &mut Vec<Fault>) {
    let mut objects = HELD;
    let mut bytes = HELD_BYTES;
    // Each has its share, so that a hold of very many leaves something to those behind it.
    let mut sharing = holds.len();
    for held in holds {
        let share = sharing.max(1);
        sharing = sharing.saturating_sub(1);
        let fitting = fitting_in(&held.objects, bytes / share).min(objects / share);
        let unnamed = held.objects.len().saturating_sub(fitting);
        held.more = held
            .more
            .saturating_add(u64::try_from(unnamed).unwrap_or(u64::MAX));
        held.objects.truncate(fitting);
        objects -= fitting;
        bytes = bytes.saturating_sub(json_size(&held.objects));
    }
    let fitting = fitting(errors).min(FAULTS);
    if fitting < errors.len() {
        let more = errors.len() - fitting + 1;
        errors.truncate(fitting.saturating_sub(1));
        errors.push(Fault::of_file(
            Code::TooManyFaults,
            "",
            format!("{more} more faults are not listed"),
            "`kelson validate` lists them",
        ));
    }
}

/// Cuts drift items into pages, each of which is one request; every item is on one of them.
pub(crate) fn pages(items: Vec<DriftItem>) -> Vec<Vec<DriftItem>> {
    let mut pages = Vec::new();
    let mut rest = items;
    while !rest.is_empty() {
        let after = rest.split_off(fitting(&rest).max(1));
        pages.push(std::mem::replace(&mut rest, after));
    }
    pages
}

/// Why objects are left as they are, as much of it as is told, and how many that wait for a
/// framework are not among them. Those come first: whoever waits for an object needs to know. What
/// is new in a revision that is held as a whole is told too.
pub(crate) fn kept(plan: &Plan) -> (Vec<Kept>, u32) {
    let reasons = plan.report.iter().map(|line| (line, line.why.reason()));
    let (waiting, others): (Vec<_>, Vec<_>) = reasons.partition(|(_, reason)| reason.waits());
    let count = waiting.len();
    let lines = waiting
        .into_iter()
        .chain(others)
        .map(|(line, reason)| Kept {
            object: line.object.clone(),
            reason,
            message: shortened(&line.message),
        });
    let is_new = |step: &&Step| plan.is_blocked && step.kind == StepKind::Create;
    let new = plan.steps.iter().filter(is_new).map(|step| Kept {
        object: step.object.clone(),
        reason: KeptReason::RevisionHeld,
        message: "it is new in a revision that is held as a whole".to_owned(),
    });
    let mut kept: Vec<Kept> = lines.chain(new).take(KEPT).collect();
    kept.truncate(fitting_in(&kept, KEPT_BYTES));
    let more = count.saturating_sub(kept.len());
    (kept, u32::try_from(more).unwrap_or(u32::MAX))
}

/// A sentence of at most [`KEPT_CHARS`] characters.
fn shortened(message: &str) -> String {
    match message.char_indices().nth(KEPT_CHARS) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

fn fitting<T: Serialize>(list: &[T]) -> usize {
    fitting_in(list, BYTES)
}

fn fitting_in<T: Serialize>(list: &[T], bytes: usize) -> usize {
    let mut total = 0_usize;
    list.iter()
        .take_while(|item| {
            total = total.saturating_add(json_size(item)).saturating_add(1);
            total <= bytes
        })
        .count()
}

fn json_size<T: Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use kelson_model::drift::{DriftState, Plane};
    use kelson_model::object::{DriftPolicy, Namespace, ObjectKey};
    use kelson_model::principal::Principal;
    use kelson_model::reason::HoldReason;
    use kelson_model::time::WallTime;
    use kelson_reconciler_core::plan::{ReportLine, Why};

    #[test]
    fn holds_of_very_many_objects_name_the_first_and_keep_their_digests() {
        let revision = "a".repeat(40).parse().unwrap();
        let hold = |reason: HoldReason| {
            let namespace = vec!["n".repeat(63); 8].join("/").parse().unwrap();
            let key = ObjectKey::new("Service", namespace, &"x".repeat(60));
            let objects = vec![key; 2 * HELD];
            Held {
                digest: Some(Held::digest_of(&reason, &revision, &objects)),
                reason,
                objects,
                ..Held::default()
            }
        };
        let mut holds = [hold(HoldReason::PruneGuard), hold(HoldReason::PruneConfirm)];
        let digests = holds.clone().map(|held| held.digest);
        report(&mut holds, &mut Vec::new());
        let sizes = holds.iter().map(|held| json_size(&held.objects));
        assert!(sizes.sum::<usize>() <= HELD_BYTES + 4);
        assert!(holds.iter().all(|held| !held.objects.is_empty()));
        for held in &holds {
            let named = u64::try_from(held.objects.len()).unwrap();
            assert_eq!(named + held.more, 2 * u64::try_from(HELD).unwrap());
        }
        assert_eq!(holds.map(|held| held.digest), digests);
    }

    #[test]
    fn what_waits_is_told_first_and_what_is_cut_of_it_is_counted() {
        let line = |n: usize, why: Why| ReportLine {
            object: ObjectKey::new("Bird", Namespace::default_namespace(), &format!("b{n}")),
            why,
            message: "é".repeat(1000),
        };
        let mut lines: Vec<ReportLine> = (0..KEPT).map(|n| line(n, Why::PruneNever)).collect();
        lines.push(line(KEPT, Why::WaitsForFramework));
        let of = |lines: &Vec<ReportLine>| Plan {
            report: lines.clone(),
            ..Plan::default()
        };
        let (few, more) = kept(&of(&lines));
        let first = few.first().unwrap();
        assert_eq!((&*first.object.name, more), ("b300", 0));
        assert!(first.message.chars().count() <= KEPT_CHARS + 1);
        lines.extend((0..KEPT).map(|n| line(1000 + n, Why::FrameworkHeld)));
        let (many, more) = kept(&of(&lines));
        assert!(json_size(&many) <= KEPT_BYTES + 2);
        assert!(many.iter().all(|it| it.reason.waits()));
        assert_eq!(many.len() + usize::try_from(more).unwrap(), KEPT + 1);
    }

    #[test]
    fn what_is_new_in_a_revision_that_is_held_as_a_whole_is_named() {
        let step = Step {
            wave: 1,
            kind: StepKind::Create,
            object: ObjectKey::new("Bird", Namespace::default_namespace(), "wren"),
            fields: Vec::new(),
            origin: None,
            is_drift: false,
            held: None,
        };
        let of = |is_blocked: bool| Plan {
            steps: vec![step.clone()],
            is_blocked,
            ..Plan::default()
        };
        assert_eq!(kept(&of(false)).0, []);
        let told = kept(&of(true)).0.into_iter().map(|it| it.reason);
        assert_eq!(told.collect::<Vec<_>>(), [KeptReason::RevisionHeld]);
    }

    #[test]
    fn drift_of_twice_what_one_request_holds_travels_on_pages() {
        let item = |n: usize| DriftItem {
            object: ObjectKey::new("Service", Namespace::default_namespace(), &format!("s{n}")),
            task: None,
            plane: Plane::Specification,
            state: DriftState::Open,
            policy: DriftPolicy::Report,
            origin: None,
            fields: Vec::new(),
            changed_by: Principal::kernel(),
            first_seen: WallTime(1),
            healed_at: None,
            count: 1,
        };
        let one = json_size(&item(1000)) + 1;
        let items: Vec<DriftItem> = (1000..1000 + 2 * BYTES / one).map(item).collect();
        let pages = pages(items.clone());
        assert!(pages.len() >= 2);
        assert!(pages.iter().all(|page| json_size(page) <= BYTES + 2));
        assert_eq!(pages.concat(), items);
        assert!(super::pages(Vec::new()).is_empty());
    }

    #[test]
    fn a_report_of_very_many_faults_is_cut_and_says_so() {
        let fault = |n: u32| Fault {
            line: n,
            column: 1,
            ..Fault::of_file(Code::UnknownField, "web.yaml", "x".repeat(300), "")
        };
        let mut few: Vec<Fault> = (0..10).map(fault).collect();
        report(&mut [], &mut few);
        assert_eq!(few.len(), 10);
        let mut many: Vec<Fault> = (0..5_000).map(fault).collect();
        report(&mut [], &mut many);
        assert!(serde_json::to_vec(&many).unwrap().len() <= BYTES + 300);
        let last = many.last().unwrap();
        assert_eq!(last.code, Code::TooManyFaults);
        let named = format!("{} more", 5_000 - (many.len() - 1));
        assert!(last.message.starts_with(&named), "{}", last.message);
    }
}
