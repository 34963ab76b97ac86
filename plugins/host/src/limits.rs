//! The numbers: what one call may use, beyond the limits that a Framework can set.

use std::time::Duration;

use kelson_kernel_core::port;

/// Fuel of one call, before what the rows that it is shown add: about 50 ms of compiled code.
///
/// A unit is about one instruction. A core of today gets through two thousand million of them a
/// second where memory is the limit, and seven in the tightest loop (`cargo xtask bench boundary`
/// measures it).
pub(crate) const TURN_FUEL: u64 = 150_000_000;
/// Fuel of a call that begins the life of an instance: `restore`, `describe`, and what runs before
/// either.
pub(crate) const RESTORE_FUEL: u64 = 2_000_000_000;
/// Fuel that each row shown adds to a call's budget: a few microseconds.
pub(crate) const FUEL_PER_ROW: u64 = 10_000;
/// Guard on the time of a processor that a turn takes: an order of magnitude above its fuel.
pub(crate) const TURN_GUARD: Duration = Duration::from_secs(1);
/// Guard on the time of a processor that `restore` takes.
pub(crate) const RESTORE_GUARD: Duration = Duration::from_secs(5);
/// How often the guard's clock ticks.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// Warm instances of one fork kept; a preview has seldom more than a few.
pub(crate) const FORK_INSTANCES: usize = 64;
/// Warm instances kept; the one unused for longest goes first.
pub(crate) const WARM_INSTANCES: usize = 4_096;

/// Rows of one page of a table.
pub(crate) const PAGE_ROWS: usize = 4_096;
/// Lines of log in one turn, its restore included.
pub(crate) const LOG_LINES: usize = 100;
/// Lines of one seat that are kept for its author.
pub(crate) const KEPT_LINES: usize = 300;
/// Bytes of the kept lines of all seats; those of the seat that wrote longest ago go first.
pub(crate) const KEPT_LINE_BYTES: usize = 16 << 20;
/// Bytes of one line, message, note or error.
pub(crate) const MESSAGE_BYTES: usize = kelson_model::text::MESSAGE_BYTES;
/// Bytes of a reason, which is one word.
pub(crate) const REASON_BYTES: usize = 64;
/// Bytes of a key of the seat's state.
pub(crate) const KEY_BYTES: usize = 256;
/// Keys of one page of `state.list`.
pub(crate) const KEYS_LISTED: usize = 1_024;
/// Bytes of a component; the largest guests known (CPython) have 20 MB.
pub(crate) const COMPONENT_BYTES: usize = 128 << 20;
/// Bytes of what `describe` returns.
pub(crate) const DESCRIPTION_BYTES: usize = 128 << 10;
/// Bytes of the answer of a query.
pub(crate) const ANSWER_BYTES: usize = 1 << 20;
/// Problems taken from one `validate`.
pub(crate) const PROBLEMS: usize = 100;
/// Bytes that one call of the guest into the host may hand over.
pub(crate) const HANDED_OVER_BYTES: usize = 32 << 20;
/// Elements of all tables of functions of one instance.
pub(crate) const TABLE_ELEMENTS: usize = 1_000_000;
/// Core instances, tables and memories of one instance, each.
pub(crate) const PARTS: usize = 64;
/// Files of compiled components kept in the cache.
pub(crate) const CACHED_COMPONENTS: usize = 256;
/// Bytes of one compiled component.
pub(crate) const COMPILED_BYTES: u64 = 1 << 30;
/// Address space of the process that compiles a component.
pub(crate) const COMPILE_MEMORY: u64 = 4 << 30;
/// Processor time of the process that compiles a component: a large guest (20 MB) takes a tenth
/// of it.
pub(crate) const COMPILE_CPU_SECONDS: u64 = 600;
/// How long compiling a component may take.
pub(crate) const COMPILE_WALL: Duration = Duration::from_millis(port::COMPILATION.0);
