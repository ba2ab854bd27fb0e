//! What reading proves: rules that every reader of Fini asks. Pure.

pub mod newer;
