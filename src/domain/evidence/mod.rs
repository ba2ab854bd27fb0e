//! The rules of evidence: the proofs of whose an event is, that it is new, and that something is there or is not. Each
//! rule is one pure function, which all callers share.

pub mod absent;
pub mod gone;
pub mod newer;
pub mod news;
pub mod own;
#[cfg(test)]
mod own_props;
