//! Builds and connects the rooms: their ports and settings, the change that wakes each loop, and the log line, figures and
//! span of each request to Fini.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::sync::watch;

use super::{bridge::Ports, clock::Timekeeper, parts, secrets::Holders};
use crate::{
    config::{self, Config, StoreUrl},
    delivery::{Dispatcher, Endpoint, ReceiverApi},
    domain::{Clock, Entropy, Timestamp, VendorClock, WallClock, breaker::State, figures::Figures},
    fini::{
        Failure, FiniApi, FiniClient, Observer, RequestFacts,
        budget::{Budget, Departures},
    },
    http::{Public, Reads, Refused, Unproved, admin::Admin, auth::Known},
    lifecycle::{Lifecycle, Pace, Stop, Wake},
    metrics::{CallStatus, Metrics},
    service::{
        breakers::Breakers,
        eraser::Eraser,
        handoff::Handoffs,
        housekeeper::Housekeeper,
        inspector::Inspector,
        intake::Intake,
        ledger::{self, Ledger},
        numberer::Numberer,
        prober::Prober,
        reader::Reader,
        replayer::Replayer,
        sender::Sender,
        waits::Waits,
        walk::Walker,
    },
    store::{
        Bindings, Change, Heard, Lease, LeftAlone, LongestWaits, LostClaims, Owner, PostgresStore, RequestClass,
        SqliteStore, Store,
    },
    system::replica,
    telemetry::{
        self,
        spans::{FinishedSpan, SpanKind, Spans},
    },
};

/// The receivers and addresses of callbacks.
pub(super) struct Delivery {
    pub(super) receivers: Arc<dyn ReceiverApi>,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
}

/// The rooms on which others are built.
pub(super) struct Rooms {
    clock: Arc<dyn Clock>,
    wall: Arc<dyn WallClock>,
    vendor: Arc<VendorClock>,
    pub(super) timekeeper: Arc<Timekeeper>,
    entropy: Arc<dyn Entropy>,
    pub(super) metrics: Metrics,
    spans: Spans,
    pub(super) lifecycle: Lifecycle,
    owner: Owner,
    pub(super) store: Arc<dyn Store>,
    bindings: Bindings,
    budget: Arc<Budget>,
    waits: Arc<Waits>,
    departures: Option<Departures>,
    breakers: Arc<Breakers>,
    fini: Arc<dyn FiniApi>,
    /// The same client, for exchanging its keys.
    keys: Arc<FiniClient>,
    ledger: Arc<Ledger>,
    handoffs: Arc<Handoffs>,
    wakes: Wakes,
    refused: Arc<Refused>,
}

impl Rooms {
    pub(super) async fn build(config: &Config, ports: Ports) -> Result<Self> {
        let Ports { fini, store, wall, entropy, log, .. } = ports;
        let metrics = Metrics::with_log(&parts::labels(config), env!("CARGO_PKG_VERSION"), log);
        let owner = Owner(format!("{}-{}", std::process::id(), entropy.key()).into());
        let vendor = Arc::new(VendorClock::default());
        let timekeeper = Timekeeper::start(
            Arc::clone(&store),
            Arc::clone(&wall),
            Arc::clone(&vendor),
            owner.clone(),
            metrics.clone(),
        );
        let timekeeper = Arc::new(timekeeper.await?);
        let clock: Arc<dyn Clock> = timekeeper.clock();
        let longest = parts::longest_waits(config)?;
        recover(store.as_ref(), &owner, clock.as_ref(), &longest).await?;
        let cache = &config.cache;
        let bindings = Bindings::new(Arc::clone(&store), cache.interaction_ids, cache.time_to_idle, metrics.clone());
        let (budget, departures) = Budget::new(Arc::clone(&store), Arc::clone(&clock), parts::budget(config));
        let budget = Arc::new(budget);
        let waits = Waits::new(Arc::clone(&store), Arc::clone(&budget), Arc::clone(&clock));
        let wakes = Wakes::default();
        let breakers = Breakers::new(
            parts::breakers(config),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            Arc::clone(&budget),
            metrics.clone(),
            wakes.prober.clone(),
        );
        let lifecycle = Lifecycle::new(metrics.clone());
        let spans = parts::spans(config, &lifecycle)?;
        let observer =
            observer(metrics.clone(), spans.clone(), Arc::clone(&wall), (Arc::clone(&vendor), Arc::clone(&clock)));
        let keys = Arc::new(FiniClient::over(fini, parts::fini(config), observer).context("the Fini client")?);
        let told = metrics.clone();
        store.changes().on_end_of_turn(move |end| ledger::report(&told, end));
        let ledger = Arc::new(Ledger::new(Arc::clone(&store), Arc::clone(&clock), metrics.clone()));
        let handoffs = Arc::new(Handoffs { store: Arc::clone(&store), clock: Arc::clone(&clock) });
        Ok(Self {
            lifecycle,
            clock,
            wall,
            vendor,
            timekeeper,
            entropy,
            metrics,
            spans,
            owner,
            store,
            bindings,
            budget,
            waits: Arc::new(waits),
            departures: Some(departures),
            breakers: Arc::new(breakers),
            fini: Arc::clone(&keys) as Arc<dyn FiniApi>,
            keys,
            ledger,
            handoffs,
            wakes,
            refused: Arc::default(),
        })
    }

    pub(super) fn reader(&self, config: &Config) -> Arc<Reader> {
        let walker = Walker {
            store: Arc::clone(&self.store),
            fini: Arc::clone(&self.fini),
            ledger: Arc::clone(&self.ledger),
            clock: Arc::clone(&self.clock),
            memory: Mutex::default(),
            keys_return: AtomicBool::default(),
        };
        Arc::new(Reader {
            store: Arc::clone(&self.store),
            fini: Arc::clone(&self.fini),
            walker: Arc::new(walker),
            ledger: Arc::clone(&self.ledger),
            breakers: Arc::clone(&self.breakers),
            budget: Arc::clone(&self.budget),
            clock: Arc::clone(&self.clock),
            vendor: Arc::clone(&self.vendor),
            entropy: Arc::clone(&self.entropy),
            tasks: self.lifecycle.tasks(),
            wake: self.wakes.reader.clone(),
            owner: self.owner.clone(),
            settings: parts::reader(config),
            state: Mutex::default(),
        })
    }

    fn sender(&self, config: &Config) -> Sender {
        Sender {
            store: Arc::clone(&self.store),
            fini: Arc::clone(&self.fini),
            bindings: self.bindings.clone(),
            ledger: Arc::clone(&self.ledger),
            breakers: Arc::clone(&self.breakers),
            budget: Arc::clone(&self.budget),
            waits: Arc::clone(&self.waits),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            tasks: self.lifecycle.tasks(),
            wake: self.wakes.sender.clone(),
            owner: self.owner.clone(),
            settings: parts::sender(config),
            in_flight: AtomicUsize::new(0),
            round: AtomicUsize::new(0),
            lost_claims: LostClaims::default(),
        }
    }

    fn dispatcher(&self, config: &Config, delivery: Delivery) -> Dispatcher {
        Dispatcher {
            store: Arc::clone(&self.store),
            receivers: delivery.receivers,
            endpoints: delivery.endpoints,
            clock: Arc::clone(&self.clock),
            wall: Arc::clone(&self.wall),
            entropy: Arc::clone(&self.entropy),
            tasks: self.lifecycle.tasks(),
            wake: self.wakes.dispatcher.clone(),
            stop: self.lifecycle.stop(),
            metrics: self.metrics.clone(),
            spans: self.spans.clone(),
            owner: self.owner.clone(),
            settings: parts::dispatcher(config),
            lost_claims: LostClaims::default(),
            expires_at: Mutex::new(Timestamp::ZERO),
        }
    }

    /// Returns what both the housekeeper and operators look at.
    pub(super) fn watched(&self, config: &Config, delivery: &Delivery) -> Watched {
        let (clock, breakers, budget) = (Arc::clone(&self.clock), Arc::clone(&self.breakers), Arc::clone(&self.budget));
        let (endpoints, bots) = (delivery.endpoints.clone(), parts::sender(config).bots);
        let left_alone = move || {
            let now = clock.now();
            let fails = |endpoint: &&Arc<Endpoint>| endpoint.state(now) != State::Closed;
            let is_unsent = |bot: &str| breakers.sends(breakers.bot(bot)) != State::Closed;
            LeftAlone {
                destinations: endpoints.iter().filter(fails).map(|endpoint| endpoint.destination.clone()).collect(),
                frontends: bots.iter().filter(|(_, bot)| is_unsent(bot)).map(|(name, _)| name.clone()).collect(),
                budget: budget.waiting(RequestClass::Send) > 0,
            }
        };
        Watched { left_alone: Arc::new(left_alone), figures: Arc::default() }
    }

    pub(super) fn housekeeper(&self, config: &Config, reader: Arc<Reader>, watched: &Watched) -> Housekeeper {
        Housekeeper {
            reader,
            left_alone: Arc::clone(&watched.left_alone),
            figures: Arc::clone(&watched.figures),
            sized_at: Mutex::default(),
            store: Arc::clone(&self.store),
            budget: Arc::clone(&self.budget),
            clock: Arc::clone(&self.clock),
            metrics: self.metrics.clone(),
            owner: self.owner.clone(),
            settings: parts::housekeeper(config),
            measure_at: Mutex::default(),
            pruned_at: Mutex::default(),
        }
    }

    fn prober(&self) -> Prober {
        Prober {
            fini: Arc::clone(&self.fini),
            breakers: Arc::clone(&self.breakers),
            budget: Arc::clone(&self.budget),
            clock: Arc::clone(&self.clock),
            waiting: vec![self.wakes.sender.clone(), self.wakes.reader.clone(), self.wakes.eraser.clone()],
            read_timeout: parts::READ_TIMEOUT,
        }
    }

    fn eraser(&self) -> Eraser {
        Eraser {
            store: Arc::clone(&self.store),
            fini: Arc::clone(&self.fini),
            breakers: Arc::clone(&self.breakers),
            budget: Arc::clone(&self.budget),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Returns the holders of secrets, with the secrets that the bridge starts with.
    pub(super) fn holders(&self, config: &Config, delivery: &Delivery) -> Result<Holders> {
        Ok(Holders {
            frontends: watch::channel(Arc::new(parts::credentials(config)?)).0,
            admin: watch::channel(Arc::new(parts::operators(config))).0,
            action_key: watch::channel(parts::action_key(config)).0,
            endpoints: delivery.endpoints.clone(),
            fini: Arc::clone(&self.keys),
        })
    }

    pub(super) fn public(&self, config: &Config, holders: &Holders) -> Public {
        let intake = Intake::new(
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            Arc::clone(&self.budget),
            self.metrics.clone(),
            parts::backlog(config),
        );
        Public {
            intake: Arc::new(intake),
            handoffs: Arc::clone(&self.handoffs),
            action_key: holders.action_key.subscribe(),
            store: Arc::clone(&self.store),
            bindings: self.bindings.clone(),
            eraser: self.wakes.eraser.clone(),
            waits: Arc::clone(&self.waits),
            frontends: Known::new(holders.frontends.subscribe()),
            clock: Arc::clone(&self.clock),
            wall: Arc::clone(&self.wall),
            entropy: Arc::clone(&self.entropy),
            metrics: self.metrics.clone(),
            spans: self.spans.clone(),
            stop: self.lifecycle.stop(),
            streams: Arc::new(parts::streams(config)),
            reads: Arc::new(Reads::new(config.limits.browser_reads_per_user, Arc::clone(&self.clock))),
            unproved: Unproved::default(),
            refused: Arc::clone(&self.refused),
            settings: parts::public(config),
        }
    }

    pub(super) fn admin(
        &self,
        config: &Config,
        delivery: &Delivery,
        reader: Arc<Reader>,
        holders: &Holders,
        watched: Watched,
    ) -> Admin {
        let inspector = Inspector {
            fini: Arc::clone(&self.fini),
            breakers: Arc::clone(&self.breakers),
            budget: Arc::clone(&self.budget),
            clock: Arc::clone(&self.clock),
        };
        Admin {
            inspector: Arc::new(inspector),
            left_alone: watched.left_alone,
            figures: watched.figures,
            configuration: Arc::new(config::shown(config)),
            replica: replica(),
            store: Arc::clone(&self.store),
            bindings: self.bindings.clone(),
            health: self.lifecycle.health(),
            breakers: Arc::clone(&self.breakers),
            budget: Arc::clone(&self.budget),
            reader,
            metrics: self.metrics.clone(),
            spans: self.spans.clone(),
            receivers: Arc::clone(&delivery.receivers),
            endpoints: delivery.endpoints.clone(),
            frontends: parts::names(config),
            replayer: self.wakes.replayer.clone(),
            operators: holders.admin.subscribe(),
            eraser: self.wakes.eraser.clone(),
            clock: Arc::clone(&self.clock),
            clocks: {
                let timekeeper = Arc::clone(&self.timekeeper);
                Arc::new(move || timekeeper.offsets())
            },
            wall: Arc::clone(&self.wall),
            entropy: Arc::clone(&self.entropy),
            refused: Arc::clone(&self.refused),
        }
    }

    /// Starts all loops. Listeners of the change feed come first, so that they hear of what the loops do.
    pub(super) fn start_loops(
        &mut self,
        config: &Config,
        reader: Arc<Reader>,
        housekeeper: Arc<Housekeeper>,
        delivery: Delivery,
    ) {
        let (last, stop) = (self.lifecycle.last_tasks(), self.lifecycle.stop());
        drop(last.spawn("wake", until(&stop, self.wakes.clone().route(self.store.changes().listen()))));
        let (bindings, changes) = (self.bindings.clone(), self.store.changes().listen());
        drop(last.spawn("bindings", until(&stop, async move { bindings.follow(changes).await })));
        let timekeeper = Arc::clone(&self.timekeeper);
        drop(last.spawn("clock", until(&stop, async move { timekeeper.keep().await })));
        if let Some(departures) = self.departures.take() {
            let budget = Arc::clone(&self.budget);
            drop(last.spawn("departures", until(&stop, async move { budget.keep(departures).await })));
        }
        let supervisor = self.lifecycle.supervisor(Arc::clone(&self.clock), Arc::clone(&self.entropy));
        let pace = |bound| Pace { bound: Duration::from_secs(bound), ..Pace::default() };
        let wakes = self.wakes.clone();
        supervisor.spawn("sender", Arc::new(self.sender(config)), wakes.sender, pace(60));
        // Fini allows two requests a second; looking for the next one more than twenty times a second would only cost.
        supervisor.spawn("reader", reader, wakes.reader, Pace { rest: Duration::from_millis(50), ..pace(60) });
        supervisor.spawn("dispatcher", Arc::new(self.dispatcher(config, delivery)), wakes.dispatcher, pace(60));
        supervisor.spawn("prober", Arc::new(self.prober()), wakes.prober, pace(60));
        supervisor.spawn("eraser", Arc::new(self.eraser()), wakes.eraser, pace(60));
        let numberer = Arc::new(Numberer { store: Arc::clone(&self.store) });
        // Readers that follow the log wait so long for events in quick succession.
        supervisor.spawn("numberer", numberer, wakes.numberer, Pace { rest: Duration::from_millis(10), ..pace(60) });
        supervisor.spawn("handoff", Arc::clone(&self.handoffs), Wake::new(), pace(60));
        let replayer = Arc::new(Replayer { store: Arc::clone(&self.store), clock: Arc::clone(&self.clock) });
        supervisor.spawn("replayer", replayer, wakes.replayer, pace(60));
        supervisor.spawn("housekeeper", housekeeper, Wake::new(), pace(120));
    }
}

/// The parts that both the housekeeper and operators look at.
pub(super) struct Watched {
    left_alone: Arc<dyn Fn() -> LeftAlone + Send + Sync>,
    figures: Arc<Mutex<Figures>>,
}

/// The wakes of the loops, each by its kind of change.
#[derive(Clone, Default)]
struct Wakes {
    sender: Wake,
    reader: Wake,
    dispatcher: Wake,
    /// Woken by a breaker that opened or closed.
    prober: Wake,
    /// Woken by a request for a deletion; other processes find it when they look.
    eraser: Wake,
    numberer: Wake,
    /// Woken when a replay begins or is steered; other processes find it when they look.
    replayer: Wake,
}

impl Wakes {
    async fn route(self, mut changes: crate::store::Listener) {
        loop {
            match changes.next().await {
                Heard::Change(Change::Turns) => self.sender.notify(),
                Heard::Change(Change::Deliveries) => self.dispatcher.notify(),
                Heard::Change(Change::Reading) => self.reader.notify(),
                // The log's own growth needs no numbers.
                Heard::Change(Change::Feed(key)) if key.is_conversation() => self.numberer.notify(),
                Heard::Change(
                    Change::Feed(_) | Change::Started(_) | Change::Settled(_) | Change::Typing(_) | Change::Binding(_),
                ) => {}
                Heard::Missed => {
                    self.sender.notify();
                    self.dispatcher.notify();
                    self.reader.notify();
                    self.numberer.notify();
                }
                Heard::Closed => return,
            }
        }
    }
}

/// Runs `work` until all else has ended.
pub(super) fn until(
    stop: &Stop,
    work: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let ended = stop.hard().clone();
    async move {
        tokio::select! {
            () = ended.cancelled() => {}
            () = work => {}
        }
    }
}

/// Opens the configured database.
pub(super) async fn open_store(
    config: &Config,
    wall: Arc<dyn WallClock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Arc<dyn Store>> {
    let rules = parts::rules(config, wall, entropy);
    match &config.store.url {
        StoreUrl::Sqlite { path } => {
            let store = SqliteStore::open(path, rules).await.with_context(|| format!("opening {}", path.display()))?;
            Ok(Arc::new(store))
        }
        StoreUrl::Postgres { urls } => {
            let store = PostgresStore::open(urls, config.store.connections, rules).await;
            Ok(Arc::new(store.context("opening the PostgreSQL database")?))
        }
    }
}

/// Takes over what a process left behind that died (kill -9, power): sends become unclear, callbacks are due again.
async fn recover(store: &dyn Store, owner: &Owner, clock: &dyn Clock, longest: &LongestWaits) -> Result<()> {
    let now = clock.now();
    let brought_back = store.bring_back(now, longest).await?;
    if brought_back > 0 {
        tracing::warn!(
            rows = brought_back,
            "brought back what waited longer than anything does: the clock had been ahead"
        );
    }
    let lease = Lease { owner: owner.clone(), now, until: now };
    let turns = store.recover_turns(&lease).await?;
    let lanes = store.recover_lanes(&lease).await?;
    if turns + lanes > 0 {
        tracing::warn!(turns, lanes, "taken over from a process that did not stop in order");
    }
    Ok(())
}

/// Records one line, one count and, in a trace, one span per request to Fini.
fn observer(
    metrics: Metrics,
    spans: Spans,
    wall: Arc<dyn WallClock>,
    (vendor, clock): (Arc<VendorClock>, Arc<dyn Clock>),
) -> Observer {
    Box::new(move |facts: &RequestFacts<'_>| {
        let route = facts.route.as_str();
        if let Some(date) = facts.date {
            vendor.observe(date, clock.now());
        }
        let status = match (facts.status, facts.failure) {
            // A page of something in front of Fini is no refusal of Fini's.
            (Some(400..=499), Some(Failure::Unclear { by_fini: false, .. })) => CallStatus::Unreadable,
            (Some(status), _) => CallStatus::from(status),
            (None, Some(Failure::NeverLeft { .. })) => CallStatus::Connect,
            (None, _) => CallStatus::Broken,
        };
        metrics.fini_request(route, status, facts.duration);
        spans.tell(facts.span, |span| FinishedSpan {
            span,
            kind: SpanKind::Client,
            name: format!("fini {route}"),
            ended_at: wall.now(),
            duration: facts.duration,
            attributes: facts.status.map(|status| ("http.response.status_code", status.into())).into_iter().collect(),
            error: facts.failure.map(Failure::class),
        });
        let duration_ms = u64::try_from(facts.duration.as_millis()).unwrap_or(u64::MAX);
        let status = facts.status;
        match facts.failure {
            None => tracing::info!(target: telemetry::ACCESS, route, status, duration_ms, "fini request"),
            Some(failure) => tracing::warn!(
                target: telemetry::ACCESS,
                route,
                status,
                duration_ms,
                class = failure.class(),
                error = %failure,
                "fini request"
            ),
        }
    })
}
