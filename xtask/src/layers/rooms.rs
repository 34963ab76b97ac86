//! The rules, as a table.

/// What a package may import of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Imports {
    /// These packages and no others.
    Only(&'static [&'static str]),
    /// Whatever it needs: it stands above everything, and nothing imports it.
    Everything,
}

/// One package and what it may see.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) package: &'static str,
    pub(crate) imports: Imports,
    /// A core is a function of its input: no tokio, I/O, clock, randomness, unordered map or float.
    pub(crate) is_core: bool,
}

const fn room(package: &'static str, imports: &'static [&'static str]) -> Room {
    Room {
        package,
        imports: Imports::Only(imports),
        is_core: false,
    }
}

const fn core(package: &'static str, imports: &'static [&'static str]) -> Room {
    Room {
        package,
        imports: Imports::Only(imports),
        is_core: true,
    }
}

const fn above(package: &'static str) -> Room {
    Room {
        package,
        imports: Imports::Everything,
        is_core: false,
    }
}

/// Every package of the workspace. One that is missing here is a violation, so that a new room
/// starts with a rule.
pub(crate) const ROOMS: &[Room] = &[
    core("kelson-model", &[]),
    room("kelson-proto", &["kelson-model"]),
    room("kelson-trust", &["kelson-model"]),
    core("kelson-kernel-core", &["kelson-model"]),
    room(
        "kelson-kernel",
        &[
            "kelson-model",
            "kelson-proto",
            "kelson-trust",
            "kelson-kernel-core",
        ],
    ),
    core("kelson-reconciler-core", &["kelson-model"]),
    room(
        "kelson-reconciler",
        &[
            "kelson-model",
            "kelson-proto",
            "kelson-trust",
            "kelson-reconciler-core",
        ],
    ),
    core("kelson-agent-core", &["kelson-model"]),
    room(
        "kelson-agent",
        &[
            "kelson-model",
            "kelson-proto",
            "kelson-trust",
            "kelson-agent-core",
        ],
    ),
    room(
        "kelson-plugin-host",
        // The builder makes the schedulers of its tests.
        &[
            "kelson-model",
            "kelson-kernel-core",
            "kelson-plugins-builder",
        ],
    ),
    // The bundle builds the first-party schedulers in a target directory of their own and embeds
    // the result: it imports none of them.
    room("kelson-plugins-bundle", &["kelson-plugins-builder"]),
    room("kelson-plugins-builder", &[]),
    room("kelson-sdk", &[]),
    room("kelson-plugin-service", &["kelson-sdk"]),
    room("kelson-example-http", &[]),
    above("kelson"),
    above("kelson-testkit"),
    above("kelson-sim"),
    above("kelson-bench"),
    above("xtask"),
];

/// Packages whose name starts so are schedulers for tests or examples: they live on the SDK alone.
pub(crate) const SCHEDULER_PREFIXES: &[&str] = &[
    "kelson-test-",
    "kelson-component-",
    "kelson-example-scheduler-",
];
/// What a scheduler may import of ours.
pub(crate) const SCHEDULER: Room = room("(a scheduler)", &["kelson-sdk"]);

/// Any package may use it for its tests; none may import it otherwise.
pub(crate) const TEST_SUPPORT: &str = "kelson-testkit";

/// All that a core may depend on from outside: pure functions and data structures.
pub(crate) const PURE: &[&str] = &[
    "imbl",
    "jiff",
    "jsonschema",
    "saphyr-parser",
    "serde",
    "serde_json",
    "sha2",
    "similar",
    "siphasher",
    "thiserror",
    "yaml_serde",
];
/// What the tests of a core may use besides.
pub(crate) const PURE_FOR_TESTS: &[&str] = &["proptest", "rmp-serde"];

/// A dependency that is kept in one place.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The package on crates.io.
    pub(crate) dependency: &'static str,
    /// The name it has in our code.
    pub(crate) path: &'static str,
    /// Which packages may depend on it.
    pub(crate) packages: &'static [&'static str],
    /// Below which folders (or in which files) its name may stand, except in tests.
    pub(crate) folders: &'static [&'static str],
}

const KERNEL_FOLDERS: &[&str] = &["proto/", "kernel/src/", "reconciler/src/", "agent/src/"];
const GRPC_PACKAGES: &[&str] = &[
    "kelson-proto",
    "kelson-kernel",
    "kelson-reconciler",
    "kelson-agent",
];

/// Where the dependencies with a home live.
pub(crate) const KEPT: &[Kept] = &[
    Kept {
        dependency: "openraft",
        path: "openraft",
        packages: &["kelson-kernel"],
        folders: &["kernel/src/raft"],
    },
    Kept {
        dependency: "wasmtime",
        path: "wasmtime",
        packages: &["kelson-plugin-host", "kelson-agent"],
        folders: &["plugins/host/", "agent/src/driver/wasm"],
    },
    Kept {
        dependency: "git2",
        path: "git2",
        packages: &["kelson-reconciler"],
        folders: &["reconciler/src/source"],
    },
    Kept {
        dependency: "notify",
        path: "notify",
        packages: &["kelson-reconciler"],
        folders: &["reconciler/src/source"],
    },
    // Reading manifests; the binary prints `-o yaml`; and it is what a bench holds our reading
    // against.
    Kept {
        dependency: "yaml_serde",
        path: "serde_yaml",
        packages: &["kelson-reconciler-core", "kelson", "kelson-bench"],
        folders: &[
            "reconciler/core/src/manifest",
            "src/output",
            "bench/src/bin",
        ],
    },
    Kept {
        dependency: "tonic",
        path: "tonic",
        packages: GRPC_PACKAGES,
        folders: KERNEL_FOLDERS,
    },
    Kept {
        dependency: "tonic-prost",
        path: "tonic_prost",
        packages: &["kelson-proto"],
        folders: &["proto/"],
    },
    Kept {
        dependency: "prost",
        path: "prost",
        packages: GRPC_PACKAGES,
        folders: KERNEL_FOLDERS,
    },
    Kept {
        dependency: "rustls",
        path: "rustls",
        packages: &["kelson-trust"],
        folders: &["trust/"],
    },
    Kept {
        dependency: "rcgen",
        path: "rcgen",
        packages: &["kelson-trust"],
        folders: &["trust/"],
    },
    Kept {
        dependency: "wit-bindgen",
        path: "wit_bindgen",
        // The probe and the cheat break the treaty on purpose, which the SDK would not let them.
        packages: &["kelson-sdk", "kelson-component-probe", "kelson-test-cheat"],
        folders: &["sdk/rust/", "tests/components/"],
    },
];

/// Packages that may not be in the tree at all, however they would get there, and why. deny.toml
/// has the same list.
pub(crate) const BANNED: &[(&str, &str)] = &[
    (
        "serde_yml",
        "unsound; yaml_serde, under the name serde_yaml",
    ),
    ("libyml", "unsound; yaml_serde, under the name serde_yaml"),
    (
        "serde_yaml",
        "unmaintained; yaml_serde, under the name serde_yaml",
    ),
];

/// A word that may not stand in a core, and why. `::` and letters on both sides count: `std::fs` is
/// not `std::fsx`.
pub(crate) const NOT_IN_A_CORE: &[(&str, &str)] = &[
    ("SystemTime", "time is an argument"),
    ("Instant", "time is an argument"),
    ("Timestamp::now", "time is an argument"),
    ("Zoned::now", "time is an argument"),
    ("HashMap", "its order is random; BTreeMap or imbl::OrdMap"),
    ("HashSet", "its order is random; BTreeSet or imbl::OrdSet"),
    ("RandomState", "randomness is an argument"),
    ("f32", "floats differ; integers in newtypes"),
    ("f64", "floats differ; integers in newtypes"),
    ("tokio", "a core waits for nothing"),
    ("async", "a core waits for nothing"),
    ("std::fs", "a core does no I/O"),
    ("std::net", "a core does no I/O"),
    ("std::io", "a core does no I/O"),
    ("std::env", "the environment is an argument"),
    ("std::process", "a core does no I/O"),
    ("std::thread", "a core has no threads"),
    ("println", "a core prints nothing"),
    ("eprintln", "a core prints nothing"),
    ("tracing", "a core logs nothing; it returns events"),
];
