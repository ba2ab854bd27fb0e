//! The rules of evidence: what proves whose something is, that it is new, that it is there or is not. Each rule stands once,
//! as a pure function, and everybody asks it.

pub mod absent;
pub mod gone;
pub mod newer;
pub mod news;
pub mod own;
#[cfg(test)]
mod own_props;
