//! Sources, and what is asked about them.

use kelson_model::request::{
    Accept, Confirm, DriftReportUpdate, Refusal, SetField, SetNamespace, SourceReport, Stage,
    StopTask,
};
use kelson_model::source::{
    Fault, Held, Kept, Pruned, Related, Release, Replacement, SourceRecord,
};

form!(Stage { source as Name, revision, part, objects, prune });
form!(Accept { source as Name, revision, previous, parts, prune, objects, going, released, hands });
form!(SourceReport {
    source as Name, branch as Name, observed, sync, held, holds, errors, prune_window, kept,
    waiting_more, observed_by as Name, applied_by as Name,
});
form!(DriftReportUpdate { source as Name, items, is_delta });
form!(SetField {
    object,
    path,
    value
});
form!(StopTask { task });
form!(Confirm { source as Name, revision, hold });
form!(SetNamespace { namespace, weight });
form!(Refusal {
    code,
    message,
    hint
});

form!(Fault {
    code, file as Name, line, column, message, hint, source_line, source_column, end_line,
    end_column, related, replacement,
});
form!(Related { file as Name, line, column, message });
form!(Replacement {
    line,
    column,
    end_line,
    end_column,
    text,
    certain
});
form!(Held {
    reason,
    confirm,
    message,
    objects,
    more,
    digest
});
form!(Release { reason, digest });
form!(Pruned { at, objects });
form!(Kept {
    object,
    reason,
    message
});
form!(SourceRecord {
    name as Name, branch as Name, observed, applied, sync, held, holds, errors,
    confirmed as Nothing, released, pruned, prune_window, kept, waiting_more, observed_by as Name,
    applied_by as Name,
});
