//! Known faults, put back one at a time, to test that the simulation finds them.
//!
//! Only the feature `mutations` compiles them in, which no release has: without it, the answer is no before the program
//! runs. A fault is put back for one thread, which is all that a simulated world has.

/// True if the named fault is put back here and now.
macro_rules! mutated {
    ($name:literal) => {
        cfg!(feature = "mutations") && $crate::mutation::is($name)
    };
}

/// The faults, by their names at the places where they are put back.
pub const ALL: &[&str] = &[
    "a message is sent again without proof that it is not there",
    "an unclear answer counts as never left",
    "a send cut off by a kill counts as never sent",
    "what nobody can tell is told as not there",
    "a late reply is not waited for",
    "a customer's own message is told as news",
    "an event is told as often as it is seen",
    "internal notes are told",
    "nobody looks for what agents write",
    "a conversation is bound to the newest row",
    "a number of the feed is left out",
    "a failed callback counts as delivered",
    "a callback's bytes change with each attempt",
    "the stream forgets its place",
    "more requests than the limit leave",
    "the bot speaks on after a claim",
    "what is withheld reaches the customer",
    "a request of Fini's is forgotten where its conversation is not known",
];

#[cfg(feature = "mutations")]
thread_local! {
    static PRESENT: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// Puts a fault back on this thread, or none.
#[cfg(feature = "mutations")]
pub fn put_back(fault: Option<&'static str>) {
    PRESENT.set(fault);
}

/// Returns true if the fault is put back on this thread.
#[cfg(feature = "mutations")]
pub fn is(fault: &str) -> bool {
    PRESENT.get() == Some(fault)
}

/// Returns false: no fault is compiled in.
#[cfg(not(feature = "mutations"))]
pub const fn is(_fault: &str) -> bool {
    false
}
