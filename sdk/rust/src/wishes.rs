//! Columns of what a scheduler wishes for: those of the treaty's calls that have many.

/// The columns of `launch`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "each column is documented in wit/")]
pub struct LaunchColumns {
    pub group: Vec<u32>,
    pub workload: Vec<u64>,
    pub generation: Vec<u64>,
    pub template: Vec<u32>,
    pub slot: Vec<u32>,
    pub offer: Vec<u32>,
}

/// The columns of `demand` and `change-demand`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "each column is documented in wit/")]
pub struct DemandColumns {
    pub key: Vec<u64>,
    pub workload: Vec<u64>,
    pub generation: Vec<u64>,
    pub template: Vec<u32>,
    pub count: Vec<u32>,
    pub placement: Vec<u32>,
    pub priority: Vec<i32>,
}
