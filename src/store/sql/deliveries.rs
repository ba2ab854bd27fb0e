//! The outbox as the port has it: maps each method to its transaction.

use std::time::Duration;

use futures_util::FutureExt;

use super::{ThisStore, attempts, dialect, expiry, lanes, replay};
use crate::{
    domain::{Timestamp, destination::Destination, ids::DeliveryId},
    store::{
        ClaimDeliveries, ClaimedDelivery, Delivery, DeliveryFilter, DeliveryPage, DeliveryStore, DestinationHold,
        FinishDelivery, Finished, Lane, Lease, Result, Token,
    },
};

#[async_trait::async_trait]
impl DeliveryStore for ThisStore {
    async fn claim_deliveries(&self, claim: ClaimDeliveries) -> Result<Vec<ClaimedDelivery>> {
        self.write(claim, |conn, _, claim| attempts::claim(conn, claim).boxed()).await
    }

    async fn next_delivery_at(&self, destinations: &[Destination]) -> Result<Option<Timestamp>> {
        self.read(destinations.to_vec(), |conn, all| lanes::next_at(conn, all).boxed()).await
    }

    async fn finish_delivery(&self, finish: FinishDelivery) -> Result<Finished> {
        self.write(finish, |conn, cx, finish| attempts::finish(conn, cx, finish).boxed()).await
    }

    async fn void_lanes(&self, token: &Token, lane: Option<&Lane>) -> Result<usize> {
        let of = (token.clone(), lane.cloned());
        self.write(of, |conn, cx, of| lanes::void(conn, cx, &of.0, of.1.as_ref()).boxed()).await
    }

    async fn recover_lanes(&self, lease: &Lease) -> Result<usize> {
        // In a database that is not shared, every other owner is a process that no longer exists.
        let all = !dialect::SHARED;
        self.write((lease.clone(), all), |conn, cx, (lease, all)| lanes::recover(conn, cx, lease, *all).boxed()).await
    }

    async fn deliveries(&self, filter: &DeliveryFilter, cursor: Option<&str>, limit: usize) -> Result<DeliveryPage> {
        let of = (filter.clone(), cursor.map(str::to_owned), limit);
        self.serve(of, |conn, of| replay::list(conn, &of.0, of.1.as_deref(), of.2).boxed()).await
    }

    async fn delivery(&self, id: &DeliveryId) -> Result<Option<Delivery>> {
        self.serve(id.clone(), |conn, id| replay::get(conn, id).boxed()).await
    }

    async fn retry_delivery(&self, id: &DeliveryId, now: Timestamp) -> Result<Option<Delivery>> {
        self.write((id.clone(), now), |conn, cx, (id, now)| replay::retry(conn, cx, id, *now).boxed()).await
    }

    async fn retry_deliveries(&self, filter: &DeliveryFilter, now: Timestamp) -> Result<u64> {
        let mut retried = 0;
        loop {
            let revived = self
                .write((filter.clone(), now), |conn, cx, (filter, now)| {
                    replay::retry_batch(conn, cx, filter, *now).boxed()
                })
                .await?;
            retried += u64::try_from(revived).unwrap_or(u64::MAX);
            if revived < replay::BATCH {
                return Ok(retried);
            }
        }
    }

    async fn hold_destination(&self, hold: &DestinationHold) -> Result<()> {
        self.write(hold.clone(), |conn, _, hold| replay::hold(conn, hold).boxed()).await
    }

    async fn release_destination(&self, destination: &Destination) -> Result<bool> {
        self.write(destination.clone(), |conn, cx, of| replay::release(conn, cx, of).boxed()).await
    }

    async fn defer_destination(&self, destination: &Destination, until: Timestamp) -> Result<()> {
        self.write((destination.clone(), until), |conn, _, of| replay::defer(conn, &of.0, of.1).boxed()).await
    }

    async fn expire_deliveries(
        &self,
        now: Timestamp,
        max_age: Duration,
        hold_lane: bool,
    ) -> Result<Vec<(Destination, u64)>> {
        self.write((now, max_age, hold_lane), |conn, cx, (now, max_age, hold_lane)| {
            expiry::expire(conn, cx, *now, *max_age, *hold_lane).boxed()
        })
        .await
    }

    async fn held_destinations(&self) -> Result<Vec<DestinationHold>> {
        self.read((), |conn, ()| replay::held(conn).boxed()).await
    }
}
