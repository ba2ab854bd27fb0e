//! The rules of evidence: what may be concluded from what Fini shows. Pure; asked from everywhere.

pub mod absent;
pub mod gone;
pub mod newer;
