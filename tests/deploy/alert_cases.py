"""When each alert has to fire, and when not: series as promtool writes them, one sample a minute.

Every case says three things: with `series` the alert fires at minute `at`, it does not yet fire at minute `before`, and with
`edge`, the nearest thing that is still all right, it does not fire at all.
"""

from typing import NamedTuple

JOB = 'job="fini-bridge"'
CALLS = "fini_bridge_fini_requests_total"
TURNS = "fini_bridge_turns_total"
TRIES = "fini_bridge_delivery_attempts_total"
ENDS = "fini_bridge_deliveries_total"
HTTP = "fini_bridge_http_requests_total"
LIST = f'{CALLS}{{route="list_conversations", status="200"}}'
WATCHED = "fini_bridge_watched_conversations"
OFF = 'fini_bridge_clock_offset_seconds{instance="%s", to="%s"}'
POST = '{route="/v1/messages", status="%s"}'


class Case(NamedTuple):
    alert: str
    at: int
    before: int
    series: dict
    edge: dict
    labels: dict = {}


def steady(value, minutes=60):
    """The same value for an hour."""
    return f"{value}x{minutes}"


def lag(under_60, total):
    """The buckets around a minute of what was found late, growing every minute."""
    name = "fini_bridge_event_lag_seconds"
    counts = {"30": under_60, "60": under_60, "120": total, "+Inf": total}
    return {f'{name}_bucket{{le="{le}"}}': f"0+{n}x60" for le, n in counts.items()} | {f"{name}_count": f"0+{total}x60"}


WEB = {"frontend": "web"}
CASES = [
    Case("FiniBridgeDown", 2, 1, {f'up{{{JOB}, instance="a"}}': steady(0)},
         {f'up{{{JOB}, instance="a"}}': steady(0), f'up{{{JOB}, instance="b"}}': steady(1)}),
    Case("FiniBridgeDown", 2, 1, {'up{job="another"}': steady(1)}, {f"up{{{JOB}}}": steady(1)}),
    Case("FiniBridgeReplicaDown", 5, 4, {f'up{{{JOB}, instance="a"}}': steady(0)},
         {f'up{{{JOB}, instance="a"}}': "0x4 1x55"}, {"job": "fini-bridge", "instance": "a"}),
    Case("FiniBridgeNoData", 5, 4, {f"up{{{JOB}}}": steady(1)},
         {f"fini_bridge_fini_budget_limit{{{JOB}}}": steady(100)}, {"job": "fini-bridge"}),
    Case("FiniBridgeRestarting", 3, 2, {f"process_start_time_seconds{{{JOB}}}": "10 20 30 40x60"},
         {f"process_start_time_seconds{{{JOB}}}": "10 20 30x60"}, {"job": "fini-bridge"}),
    Case("FiniBridgeLoopFailing", 12, 4, {'fini_bridge_loop_errors_total{loop="reader"}': "0+2x60"},
         {'fini_bridge_loop_errors_total{loop="reader"}': " ".join(str(minute // 2) for minute in range(60))}, {"loop": "reader"}),
    Case("FiniBridgePanic", 3, 1, {'fini_bridge_panics_total{place="http"}': "0 0 1x60"},
         {'fini_bridge_panics_total{place="http"}': steady(1)}, {"place": "http"}),

    Case("FiniBridgeKeyRefused", 5, 1, {'fini_bridge_fini_key_refused{key="write"}': steady(1)},
         {'fini_bridge_fini_key_refused{key="write"}': steady(0), f'{CALLS}{{route="generate_answer", status="403"}}': "0+1x60"}),
    # 3 of 10 fail, against 2 of 10: one fifth is still borne.
    Case("FiniBridgeFiniFailing", 15, 4, {f'{CALLS}{{status="500"}}': "0+3x60", f'{CALLS}{{status="200"}}': "0+7x60"},
         {f'{CALLS}{{status="500"}}': "0+2x60", f'{CALLS}{{status="200"}}': "0+8x60"}),
    # All fail, but there are too few to tell.
    Case("FiniBridgeFiniFailing", 15, 4, {f'{CALLS}{{status="timeout"}}': "0+2x60"},
         {f'{CALLS}{{status="timeout"}}': "0 0 1 1 2 2 3 3 4 4 5 5 6 6 7x45"}),
    Case("FiniBridgeThrottled", 10, 4, {f'{CALLS}{{status="429"}}': "0+1x60"}, {f'{CALLS}{{status="429"}}': steady(3)}),
    Case("FiniBridgeBudgetExhausted", 10, 9, {"fini_bridge_fini_budget_used": steady(95), "fini_bridge_fini_budget_limit": steady(100)},
         {"fini_bridge_fini_budget_used": steady(94), "fini_bridge_fini_budget_limit": steady(100)}),
    Case("FiniBridgeReadingBehind", 4, 2, {"fini_bridge_sweep_age_seconds": steady(121)}, {"fini_bridge_sweep_age_seconds": steady(120)}),
    Case("FiniBridgeClockOff", 6, 4, {OFF % ("a", "fini"): steady(-6)}, {OFF % ("a", "fini"): steady(-5), OFF % ("a", "postgres"): steady(4)},
         {"instance": "a", "to": "fini"}),
    Case("FiniBridgeEventsFoundLate", 20, 9, lag(8, 10), lag(9, 10)),

    Case("FiniBridgeMessagesLate", 2, 1, {'fini_bridge_oldest_due_seconds{kind="turns"}': steady(121)},
         {'fini_bridge_oldest_due_seconds{kind="turns"}': steady(120), 'fini_bridge_oldest_due_seconds{kind="deliveries"}': steady(121)}),
    Case("FiniBridgeIntakeRefused", 5, 1, {HTTP + POST % 503: "0+1x60"}, {HTTP + POST % 422: "0+1x60"}),
    Case("FiniBridgeIntakeRefused", 5, 1, {HTTP + POST % 429: "0+1x60"},
         {HTTP + '{route="/v1/conversations/{id}/stream", status="429"}': "0+1x60"}),
    Case("FiniBridgeUnclearOutcome", 2, 0, {TURNS + '{frontend="web", outcome="unclear_outcome"}': "0 0 1x60"},
         {TURNS + '{frontend="web", outcome="unclear_outcome"}': steady(4)}, WEB),
    Case("FiniBridgeTurnsFailing", 45, 0, {TURNS + '{frontend="web", outcome="fini_rejected"}': "0+1x60"},
         {TURNS + '{frontend="web", outcome="fini_rejected"}': "0x20 1x10 2x10 3x10", TURNS + '{frontend="web", outcome="answered"}': "0+9x60"}, WEB),
    Case("FiniBridgeMessagesHeldUp", 3, 1, {'fini_bridge_oldest_waiting_seconds{kind="turn"}': steady(601)},
         {'fini_bridge_oldest_waiting_seconds{kind="turn"}': steady(600), 'fini_bridge_oldest_waiting_seconds{kind="handoff"}': steady(5000)}),
    Case("FiniBridgeQuarantine", 1, 0, {'fini_bridge_waiting{kind="quarantine"}': steady(1)},
         {'fini_bridge_waiting{kind="quarantine"}': steady(0), 'fini_bridge_waiting{kind="turn"}': steady(5)}),

    Case("FiniBridgeCallbacksLate", 3, 2, {'fini_bridge_oldest_due_seconds{kind="deliveries"}': steady(121)},
         {'fini_bridge_oldest_due_seconds{kind="deliveries"}': steady(120)}),
    # The bridge fails on its own while the receiver is well, and the other way round: each has its own alert.
    Case("FiniBridgeReceiverRefusing", 16, 4, {TRIES + '{frontend="web", class="refused"}': "0+6x60", TRIES + '{frontend="web", class="delivered"}': "0+4x60"},
         {TRIES + '{frontend="web", class="refused"}': "0+5x60", TRIES + '{frontend="web", class="delivered"}': "0+5x60"}, WEB),
    Case("FiniBridgeReceiverRefusing", 16, 4, {TRIES + '{frontend="web", class="unreachable"}': "0+1x60"},
         {TRIES + '{frontend="web", class="bridge_failed"}': "0+6x60"}, WEB),
    Case("FiniBridgeCallbacksBlocked", 3, 0, {TRIES + '{frontend="web", class="blocked"}': "0 0 1x60"},
         {TRIES + '{frontend="web", class="refused"}': "0 0 1x60"}, WEB),
    Case("FiniBridgeDeliveryFailing", 6, 1, {TRIES + '{frontend="web", class="bridge_failed"}': "0+1x60"},
         {TRIES + '{frontend="web", class="refused"}': "0+1x60"}, WEB),
    # They last for as long as there is something to do, and end with it: replicas that start anew show them at once.
    Case("FiniBridgeDeadLetters", 2, 0, {'fini_bridge_backlog{kind="dead_letters"}': steady(1)},
         {'fini_bridge_backlog{kind="dead_letters"}': steady(0), 'fini_bridge_backlog{kind="deliveries"}': steady(9)}),
    Case("FiniBridgeCallbacksPaused", 6, 4, {'fini_bridge_waiting{kind="pause"}': steady(1)},
         {'fini_bridge_waiting{kind="pause"}': "1x4 0x55"}),

    Case("FiniBridgeServerErrors", 2, 0, {HTTP + '{route="/v1/messages", status="500"}': "0 0 1x60"},
         {HTTP + '{route="/v1/messages", status="503"}': "0 0 1x60"}, {"route": "/v1/messages"}),
    Case("FiniBridgeFileDescriptors", 5, 4, {f"process_open_fds{{{JOB}}}": steady(81), f"process_max_fds{{{JOB}}}": steady(100)},
         {f"process_open_fds{{{JOB}}}": steady(80), f"process_max_fds{{{JOB}}}": steady(100)}, {"job": "fini-bridge"}),
    Case("FiniBridgeLogLinesDropped", 2, 0, {"fini_bridge_log_lines_dropped_total": "0 0 5x60"},
         {"fini_bridge_log_lines_dropped_total": steady(5)}),
]

# A good day: traffic, a few failures that heal, and silence.
HEALTHY = {
    f'up{{{JOB}, instance="a"}}': steady(1),
    f'fini_bridge_fini_budget_limit{{{JOB}}}': steady(100),
    f'fini_bridge_fini_budget_used{{{JOB}}}': "40 60 94 96 70 50x55",
    f'process_start_time_seconds{{{JOB}}}': steady(1000),
    f'process_open_fds{{{JOB}}}': "40+5x60",
    f'process_max_fds{{{JOB}}}': steady(1024),
    LIST: "0+30x60",
    f'{CALLS}{{route="generate_answer", status="200"}}': "0+20x60",
    f'{CALLS}{{route="generate_answer", status="500"}}': "0 0 1 1 1 2x55",
    WATCHED: steady(25),
    TURNS + '{frontend="web", outcome="answered"}': "0+20x60",
    TURNS + '{frontend="web", outcome="fini_unavailable"}': "0 0 0 1x57",
    TURNS + '{frontend="web", outcome="unclear_outcome"}': steady(0),
    TRIES + '{frontend="web", class="delivered"}': "0+60x60",
    TRIES + '{frontend="web", class="unreachable"}': "0 0 3 4x57",
    TRIES + '{frontend="web", class="bridge_failed"}': steady(0),
    ENDS + '{frontend="web", outcome="delivered"}': "0+60x60",
    ENDS + '{frontend="web", outcome="dead"}': steady(0),
    'fini_bridge_oldest_due_seconds{kind="turns"}': "0 1 2 30 1 0x55",
    'fini_bridge_oldest_due_seconds{kind="deliveries"}': "0 1 2 60 1 0x55",
    'fini_bridge_backlog{kind="dead_letters"}': steady(0),
    'fini_bridge_waiting{kind="quarantine"}': steady(0),
    'fini_bridge_waiting{kind="pause"}': "0 1 1 0x57",
    'fini_bridge_oldest_waiting_seconds{kind="turn"}': "0 20 600 0x57",
    HTTP + '{route="/v1/messages", status="202"}': "0+20x60",
    HTTP + '{route="/v1/messages", status="422"}': "0+1x60",
    "fini_bridge_log_lines_dropped_total": steady(0),
    'fini_bridge_panics_total{place="http"}': steady(0),
} | lag(95, 100)
