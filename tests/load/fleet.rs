//! A thousand workspaces on many PostgreSQL servers, simulated in virtual time with what one was measured to cost.
//!
//! A pure function of its costs, its plan and a seed: no clock, no I/O. A workspace is a key of Fini with a budget of its own, and
//! has its own release of the bridge and its own database. How much is said in it is heavy-tailed (lognormal), follows the
//! day, and never exceeds what the budget lets out; what exceeds it waits. Two days pass minute by minute: the first one is
//! what a planner knows, the second one is what the plan is judged by.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of a simulation, far below what a float holds exactly"
)]

/// Minutes of a day.
pub const DAY: usize = 24 * 60;

/// What a workspace costs its database server, as measured.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// CPU seconds a minute while nothing is watched.
    pub empty: f64,
    /// CPU seconds a minute while conversations are watched, and nothing is said.
    pub watching: f64,
    /// CPU seconds for one message more, with its reply and callback.
    pub message: f64,
}

/// Whom to place, and on what.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Workspaces.
    pub workspaces: usize,
    /// Messages a day in the median workspace, and the spread (sigma) of their logarithm.
    pub messages: (f64, f64),
    /// Messages a minute that a budget lets out.
    pub budget: u32,
    /// CPU seconds a minute that a server may use in its busiest minute.
    pub cpu: f64,
    /// Makes everything that is left to chance.
    pub seed: u64,
}

/// Two days of all workspaces.
#[derive(Debug, PartialEq)]
pub struct Days {
    /// CPU seconds per workspace and minute of the second day.
    pub cpu: Vec<Vec<f64>>,
    /// CPU seconds per workspace on the first day: what is known when it is placed.
    pub known: Vec<f64>,
    /// Messages per workspace on the second day.
    pub messages: Vec<u64>,
    /// Messages in the busiest minute of the second day, over all workspaces.
    pub busiest: u64,
    /// Messages of the second day that had to wait for a later minute of the budget.
    pub waited: u64,
    /// Workspaces whose budget was used up in some minute.
    pub exhausted: usize,
}

/// What is said at the busiest time of the day, relative to the mean, rounded up.
const PEAK: f64 = 2.0;

/// What is said at this time of the day, relative to the mean: little at night, most in the afternoon.
fn curve(minute: usize) -> f64 {
    let turn = std::f64::consts::TAU * (minute % DAY) as f64 / DAY as f64;
    1.0 - 0.75 * (turn - 0.5).cos() - 0.15 * (2.0 * turn).cos()
}

/// Lets two days pass.
pub fn days(costs: Costs, plan: Plan) -> Days {
    let mut dice = fastrand::Rng::with_seed(plan.seed);
    let mut days = Days {
        cpu: Vec::with_capacity(plan.workspaces),
        known: Vec::with_capacity(plan.workspaces),
        messages: Vec::with_capacity(plan.workspaces),
        busiest: 0,
        waited: 0,
        exhausted: 0,
    };
    let mut minutes = vec![0; DAY];
    for _ in 0..plan.workspaces {
        // Who says more than the budget carries at the busiest time of the day has to ask Fini for a larger one.
        let mean = plan.messages.0 * (plan.messages.1 * normal(&mut dice)).exp() / DAY as f64;
        let mean = mean.min(f64::from(plan.budget) / PEAK);
        let (mut queue, mut said_at, mut is_exhausted) = (0, None, false);
        let (mut cpu, mut known, mut sent) = (Vec::with_capacity(DAY), 0.0, 0);
        for minute in 0..2 * DAY {
            let new = poisson(mean * curve(minute), &mut dice);
            let out = (queue + new).min(plan.budget);
            queue = queue + new - out;
            if out > 0 {
                said_at = Some(minute);
            }
            // What was said stays watched for a day.
            let is_watching = said_at.is_some_and(|at| minute - at < DAY);
            let idle = if is_watching { costs.watching } else { costs.empty };
            let used = idle + f64::from(out) * costs.message;
            if minute < DAY {
                known += used;
                continue;
            }
            cpu.push(used);
            sent += u64::from(out);
            minutes[minute - DAY] += u64::from(out);
            days.waited += u64::from(new.min(queue));
            is_exhausted |= queue > 0;
        }
        days.cpu.push(cpu);
        days.known.push(known);
        days.messages.push(sent);
        days.exhausted += usize::from(is_exhausted);
    }
    days.busiest = minutes.into_iter().max().unwrap_or(0);
    days
}

/// A number of the standard normal distribution (Box and Muller).
fn normal(dice: &mut fastrand::Rng) -> f64 {
    let (one, other) = (1.0 - dice.f64(), dice.f64());
    (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()
}

/// How often something happened that happens so often on average (by inversion).
fn poisson(mean: f64, dice: &mut fastrand::Rng) -> u32 {
    let (mut count, mut left) = (0, dice.f64());
    let mut share = (-mean).exp();
    while left >= share && count < 10_000 {
        left -= share;
        count += 1;
        share *= mean / f64::from(count);
    }
    count
}

/// How workspaces come to their servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// The server that a hash of both prefers, among those with room (rendezvous hashing): needs no memory.
    Hash,
    /// The server with the least load, the largest workspaces first: needs a list of who is where.
    LeastLoad,
}

impl Placing {
    /// The server of every workspace, where each server has room for so many.
    pub fn place(self, days: &Days, servers: usize, room: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..days.known.len()).collect();
        if self == Self::LeastLoad {
            order.sort_by(|one, other| days.known[*other].total_cmp(&days.known[*one]));
        }
        let (mut placed, mut counts, mut loads) = (vec![0; order.len()], vec![0; servers], vec![0.0; servers]);
        for workspace in order {
            let open = (0..servers).filter(|server| counts[*server] < room);
            let server = match self {
                Self::Hash => open.max_by_key(|server| preference(workspace, *server)),
                Self::LeastLoad => open.min_by(|one, other| f64::total_cmp(&loads[*one], &loads[*other])),
            };
            // More than there is room for: the caller asks with enough servers.
            let server = server.unwrap_or(0);
            placed[workspace] = server;
            counts[server] += 1;
            loads[server] += days.known[workspace];
        }
        placed
    }

    /// How many workspaces move when one server is added. By least load, the fullest server gives its largest workspaces to the
    /// new one until that has its share.
    pub fn moved(self, days: &Days, servers: usize, room: usize) -> usize {
        let before = self.place(days, servers, room);
        if self == Self::Hash {
            let after = self.place(days, servers + 1, room);
            return before.iter().zip(&after).filter(|(one, other)| one != other).count();
        }
        let mut loads = vec![0.0; servers];
        for (workspace, server) in before.iter().enumerate() {
            loads[*server] += days.known[workspace];
        }
        let share = loads.iter().sum::<f64>() / (servers + 1) as f64;
        let (mut moved, mut new, mut gone) = (0, 0.0, vec![false; before.len()]);
        while new < share && moved < room {
            let Some(fullest) = (0..servers).max_by(|one, other| loads[*one].total_cmp(&loads[*other])) else { break };
            let candidates = (0..before.len()).filter(|one| before[*one] == fullest && !gone[*one]);
            let Some(largest) = candidates.max_by(|one, other| days.known[*one].total_cmp(&days.known[*other])) else {
                break;
            };
            gone[largest] = true;
            loads[fullest] -= days.known[largest];
            new += days.known[largest];
            moved += 1;
        }
        moved
    }
}

/// A hash of both (the finaliser of splitmix64): the same on every machine, for ever.
fn preference(workspace: usize, server: usize) -> u64 {
    let mut mixed = (workspace as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (server as u64 + 1).rotate_left(32);
    for factor in [0xbf58_476d_1ce4_e5b9_u64, 0x94d0_49bb_1331_11eb] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
    }
    mixed ^ (mixed >> 31)
}

/// What a number of servers comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fleet {
    /// Servers.
    pub servers: usize,
    /// CPU seconds of the busiest minute of the busiest server.
    pub busiest: f64,
    /// The largest share of workspaces, and of the day's messages, on one server: what its failure touches.
    pub touched: (f64, f64),
    /// The share of workspaces that move when a server is added.
    pub moved: f64,
}

/// The fewest servers on which none passes its CPU, each with room for so many workspaces. `None` where a single workspace is
/// too much for a server.
pub fn fleet(days: &Days, plan: Plan, placing: Placing, room: usize) -> Option<Fleet> {
    if room == 0 {
        return None;
    }
    let count = days.known.len();
    for servers in count.div_ceil(room).max(1)..=count {
        let placed = placing.place(days, servers, room);
        let mut loads = vec![vec![0.0; DAY]; servers];
        for (server, cpu) in placed.iter().zip(&days.cpu) {
            for (load, used) in loads[*server].iter_mut().zip(cpu) {
                *load += used;
            }
        }
        let busiest = loads.iter().flatten().copied().fold(0.0, f64::max);
        if busiest > plan.cpu {
            continue;
        }
        let (mut on, mut said) = (vec![0_usize; servers], vec![0; servers]);
        for (server, messages) in placed.iter().zip(&days.messages) {
            on[*server] += 1;
            said[*server] += messages;
        }
        let messages = days.messages.iter().sum::<u64>().max(1) as f64;
        return Some(Fleet {
            servers,
            busiest,
            touched: (
                on.into_iter().max().unwrap_or(0) as f64 / count as f64,
                said.into_iter().max().unwrap_or(0) as f64 / messages,
            ),
            moved: placing.moved(days, servers, room) as f64 / count as f64,
        });
    }
    None
}
