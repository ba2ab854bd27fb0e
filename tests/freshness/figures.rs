//! What a run has shown.

use std::{collections::VecDeque, time::Duration};

use fini_bridge::service::planner::{Kind, Plan};

/// Delays in seconds.
#[derive(Debug, Default)]
pub struct Figures {
    pub messages: Vec<f64>,
    pub statuses: Vec<f64>,
    pub send_waits: Vec<f64>,
    pub one_by_one: Vec<f64>,
    /// Messages that were never shown.
    pub unseen: usize,
    pub sweeps: usize,
    pub gaps: usize,
    pub audits: usize,
    pub gets: usize,
    /// The most requests that reached Fini in any 60 seconds.
    pub most_in_a_minute: usize,
    arrivals: VecDeque<i64>,
    decisions: (u32, Duration),
}

impl Figures {
    pub fn requested(&mut self, arrives_at: i64) {
        self.arrivals.push_back(arrives_at);
        while self.arrivals.front().is_some_and(|at| *at <= arrives_at - 60_000) {
            self.arrivals.pop_front();
        }
        self.most_in_a_minute = self.most_in_a_minute.max(self.arrivals.len());
    }

    pub fn read(&mut self, plan: Plan) {
        match plan {
            Plan::List(Kind::Sweep) => self.sweeps += 1,
            Plan::List(Kind::Gap) => self.gaps += 1,
            Plan::List(Kind::Audit) => self.audits += 1,
            _ => self.gets += 1,
        }
    }

    pub fn decided(&mut self, took: Duration) {
        self.decisions.0 += 1;
        self.decisions.1 += took;
    }

    /// What one decision costs on average.
    pub fn per_decision(&self) -> Duration {
        self.decisions.1 / self.decisions.0.max(1)
    }
}

/// The value below which this part of the values lies; 0 where there are none.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
