//! The macro that makes a component out of a scheduler.

/// Exports a type that implements [`Scheduler`](crate::Scheduler) as the component's scheduler;
/// once per crate.
///
/// The crate is a `cdylib` for `wasm32-unknown-unknown`, so that it imports the treaty and nothing
/// else. Elsewhere the macro expands to nothing, and the crate's logic is tested natively.
#[macro_export]
macro_rules! export_scheduler {
    ($scheduler:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::__generated::exports::kelson::scheduler::scheduler as exported;

            std::thread_local! {
                static RUNNER: std::cell::RefCell<$crate::Runner<$scheduler>> = std::cell::RefCell::default();
            }

            struct Component;

            impl exported::Guest for Component {
                fn describe() -> String {
                    $crate::__report_panics();
                    $crate::Runner::<$scheduler>::describe()
                }
                fn validate(kind: String, spec: String) -> Vec<exported::Problem> {
                    $crate::__report_panics();
                    $crate::Runner::<$scheduler>::validate(&kind, &spec)
                        .into_iter()
                        .map(|problem| exported::Problem {
                            pointer: problem.pointer,
                            message: problem.message,
                        })
                        .collect()
                }
                fn restore() -> Result<(), String> {
                    $crate::__report_panics();
                    RUNNER.with_borrow_mut(|runner| runner.restore(&$crate::Imports))
                }
                fn turn(now: u64, seed: u64, turn_no: u64) -> Result<(), String> {
                    RUNNER.with_borrow_mut(|runner| runner.turn(&$crate::Imports, now, seed, turn_no))
                }
                fn query(verb: String, arguments: String) -> Result<String, String> {
                    RUNNER.with_borrow(|runner| runner.query(&$crate::Imports, &verb, &arguments))
                }
            }

            $crate::__generated::export_generated!(Component with_types_in $crate::__generated);
        };
    };
}
