//! Egress policies -> rows.
//!
//! # Layout
//! - [`EgressPolicyTable`]: the rows of one policy, which depend on nothing but its rules
//! - `prefixes`: rules by prefix, searched by hash lookups
//! - `ports`: which rules with ports concern which packets
//! - [`names`]: names as keys and numbers
//! - [`flows`]: what a policy must know of connections that are older than it
//! - `project`: what of all this a project has

pub mod flows;
pub mod names;
mod ports;
mod prefixes;
mod project;
mod table;

pub use super::EgressPolicyTable;
pub use names::{name_key, name_number, name_of_key};
pub(super) use project::{name_rows, project_rows};
pub use table::Unfit;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::model::EgressPolicy;

/// Tables of policies that were compiled before: a policy's number stands for its rules.
#[derive(Debug, Default)]
pub struct Memo(RefCell<HashMap<u64, Result<Arc<EgressPolicyTable>, Unfit>>>);

impl Memo {
    /// The table of a valid policy.
    pub fn table(&self, policy: &EgressPolicy) -> Result<Arc<EgressPolicyTable>, Unfit> {
        let mut memo = self.0.borrow_mut();
        memo.entry(policy.number())
            .or_insert_with(|| EgressPolicyTable::compile(policy).map(Arc::new))
            .clone()
    }

    /// Forgets what nobody else holds any more.
    pub fn shrink(&self) {
        let mut memo = self.0.borrow_mut();
        memo.retain(|_, table| match table {
            Ok(table) => Arc::strong_count(table) > 1,
            Err(_) => false,
        });
    }
}
