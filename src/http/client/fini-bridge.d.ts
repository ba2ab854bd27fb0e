/** Browser client for fini-bridge. All texts are plain text: show them with `textContent`. */

export interface FiniChatOptions {
  /** Origin (and path prefix) of the bridge, `https://chat.example.com`. Default: the page's own origin. */
  baseUrl?: string;
  /** Your own id of the conversation; 1–200 of `A-Z a-z 0-9 . _ ~ : @ + = -`. */
  conversationId: string;
  /** A browser token, where the page is given one. Give this or `getToken`, or both (the first token, and how to renew it). */
  token?: string;
  /**
   * Asks your own backend for a fresh browser token. Called before the present one expires and after a 401. May reject or throw
   * anything: it is asked again with growing delays, and one `error` with code `token` tells so.
   */
  getToken?: () => TokenAnswer | Promise<TokenAnswer>;
  /**
   * Who writes; sent with every message. The bridge takes the token's word for it and refuses what differs (403 `forbidden`): an
   * equal `id` passes, and attributes that the frontend's `browser_attributes` names.
   */
  user?: { id?: string; attributes?: Record<string, unknown> };
  /**
   * Where messages wait that the bridge has not accepted yet, so that they survive a reload. Default `localStorage`; `null`
   * keeps them in memory only. Their texts are readable for scripts of the same origin, and are gone once accepted; a failed one
   * stays until it is sent again or taken out, at most seven days.
   */
  storage?: Storage | null;
  /**
   * Whether the tabs of this origin that show the conversation share one stream and one queue (Web Locks and BroadcastChannel;
   * where they are missing each tab is on its own). Default true.
   */
  share?: boolean;
  /** Instead of the global `fetch`. */
  fetch?: typeof fetch;
  /** First retry delay in ms, default 500. It doubles with each failure, with jitter. */
  minDelay?: number;
  /** Longest retry delay in ms, default 30 000. */
  maxDelay?: number;
  /** A stream without a byte for this many ms counts as dead, default 45 000. */
  silence?: number;
  /** A stream whose first byte takes longer than this many ms is held back by something in between, default 10 000. */
  greeting?: number;
  /** A stream that brought no event and ended before this many ms counts as one that does not get through, default 5 000. */
  settled?: number;
  /** A tab out of sight for this many ms gives its stream up and reads pages at growing intervals, default 5 000. */
  hidden?: number;
  /** Limit for one request that is not a stream, in ms, default 30 000. */
  requestTimeout?: number;
  /** A message found unsent after this many ms fails as `expired` instead of being sent late, default 24 h. */
  pendingTtl?: number;
}

/** A token, or the answer of `POST /v1/conversations/{id}/tokens` as it is. */
export type TokenAnswer = string | { token: string };

/** `new` until the conversation has its first event. Further states may be added. */
export type ConversationState = 'new' | 'open' | 'escalated' | 'resolved' | 'quarantined' | 'lost' | 'continued' | (string & {});

/**
 * `online`: the feed is read, by a stream or, where none gets through, by pages (or there is no conversation yet).
 * `closed`: after `close()`. A reconnection within a second is not told.
 */
export type Connection = 'connecting' | 'online' | 'offline' | 'closed';

/** Who speaks to the customer, as far as the feed tells; what is not known is null. Times are RFC 3339. */
export interface Handoff {
  readonly speaker: 'bot' | 'waiting' | 'human';
  readonly reason: string | null;
  readonly requestedAt: string | null;
  readonly claimedAt: string | null;
  /** Whose it is: the first of `agents`. */
  readonly agent: Agent | null;
  /** Who is there; none while Fini's own human answers, or while somebody is waited for again. */
  readonly agents: readonly Agent[];
  readonly position: number | null;
  readonly expectedWaitSeconds: number | null;
  readonly deskOpen: boolean | null;
  readonly nextOpen: string | null;
}

export interface Agent {
  readonly id: string;
  readonly name: string;
  readonly avatar_url?: string | null;
}

/** An entry of `conversations()`. Unread: `lastSequence > readSequence`. */
export interface ListedConversation {
  readonly conversationId: string;
  readonly state: ConversationState;
  readonly lastMessage: { readonly author: Author; readonly text: string; readonly createdAt: string } | null;
  readonly lastSequence: number;
  readonly readSequence: number;
  readonly updatedAt: string;
}

export type Author = 'user' | 'bot' | 'agent' | 'otherbot' | (string & {});

/**
 * Of the customer's own messages. `pending`: not accepted yet, being tried. `queued`: stored by the bridge. `answered`: a reply
 * came. `stored`: it reached Fini and no reply is due (see `outcome`). `failed`: see `code` and `mayResend`.
 */
export type MessageStatus = 'pending' | 'queued' | 'answered' | 'stored' | 'failed';

/** Never changed in place: a change makes a new object, so that equality tells whether one has to draw. */
export interface ChatMessage {
  /** Fini's event id, or the `message_id` of what the frontend posted. */
  readonly id: string;
  readonly author: Author;
  readonly text: string;
  /** How the author's words are meant. Never HTML: whatever draws Markdown has to make it safe, as `fini-bridge-client/markdown` does. */
  readonly format: 'plain' | 'markdown' | (string & {});
  /** RFC 3339. */
  readonly createdAt: string;
  /** Place in the feed; null while the bridge has not accepted it. */
  readonly sequence: number | null;
  readonly origin: 'fini' | 'frontend';
  /** The `message_id` this answers, where known. */
  readonly inReplyTo: string | null;
  /** Addresses are http(s) or null. */
  readonly articles: readonly { id: string; title: string | null; url: string | null }[];
  readonly attachments: readonly unknown[];
  readonly tags: readonly unknown[];
  /** Which fields of the message the bridge refused, where that is why it failed. */
  readonly errors: readonly { field: string; message: string }[];
  /** Null for messages that are not the customer's own. */
  readonly status: MessageStatus | null;
  /** How the turn ended, once it has. */
  readonly outcome: 'answered' | 'no_reply' | 'escalated' | 'stored' | (string & {}) | null;
  /** While it is queued: in how many ms the bridge expects to send it; null when at once or not known. */
  readonly expectedWaitMs: number | null;
  /** Why it failed: a code of `turn.failed`, a problem code of the bridge, `expired` or `undeliverable`. */
  readonly code: string | null;
  readonly detail: string | null;
  /** Whether `resend(id)` makes sense. */
  readonly mayResend: boolean;
}

interface FeedEventBase<Type extends string, Data> {
  readonly id: string;
  readonly type: Type;
  /** RFC 3339. */
  readonly timestamp: string;
  readonly frontend: string;
  readonly conversation_id: string;
  readonly interaction_id: string | null;
  /** 1, 2, 3 … per conversation, without gaps. */
  readonly sequence: number;
  readonly data: Data;
}

/** A message as the feed carries it. */
export interface FeedMessage {
  readonly id: string;
  readonly author: Author;
  readonly text: string;
  /** Left out of events that were recorded before there were formats: those are plain. */
  readonly format?: 'plain' | 'markdown' | (string & {});
  readonly created_at: string;
  readonly articles: readonly { id: string; title: string | null; url: string | null }[];
  readonly attachments: readonly unknown[];
  readonly tags: readonly unknown[];
}

/** Why a human takes over. */
export type EscalationReason = 'status' | 'silent_escalation' | 'human_message' | 'action' | 'requested' | (string & {});

/** A human who has the conversation, or has left it. */
export interface HandoffAgent {
  readonly id: string;
  readonly name: string;
  readonly avatar_url: string | null;
}

/** What the bridge's feed carries. Unknown types may be added; ignore them. */
export type FeedEvent =
  | FeedEventBase<'message.created', { message: FeedMessage; origin: 'fini' | 'frontend'; in_reply_to: string | null }>
  | FeedEventBase<'message.updated', { message_id: string; changed: Partial<Pick<FeedMessage, 'text' | 'articles' | 'attachments' | 'tags'>> }>
  | FeedEventBase<'turn.completed', { message_id: string; outcome: 'answered' | 'no_reply' | 'escalated' | 'stored'; replies: number }>
  | FeedEventBase<'turn.failed', { message_id: string; code: string; detail: string; may_resend: boolean }>
  | FeedEventBase<'conversation.escalated', { reason: EscalationReason; status_text: string | null }>
  | FeedEventBase<'handoff.requested', { reason: EscalationReason; desk_open: boolean | null; next_open: string | null }>
  | FeedEventBase<'handoff.claimed' | 'handoff.agent_joined' | 'handoff.agent_left', { agent: HandoffAgent }>
  | FeedEventBase<'handoff.position', { position: number; expected_wait_seconds: number | null }>
  /** Nobody came in time; `text` is what the customer is asked then, if anything. */
  | FeedEventBase<'handoff.unclaimed', { waited_seconds: number; then: 'bot' | 'stay' | 'ask'; text: string | null }>
  | FeedEventBase<'handoff.returned', { by: 'desk' | 'resolution' | 'idle' }>
  | FeedEventBase<'conversation.status_changed', { state: ConversationState; previous_state: ConversationState; status_text: string | null; awaiting_customer: boolean }>
  | FeedEventBase<'conversation.resolved', { resolved: boolean }>
  | FeedEventBase<'conversation.continued', { by: string }>
  | FeedEventBase<'form.presented', { event_id: string; text: string | null }>
  /** In place of an event that is not for the customer: nothing to show, and no gap in the numbers. */
  | FeedEventBase<'hidden', Record<string, never>>;

export interface ChatEvents {
  /** Every feed event, in order, once, after the view model has taken it in. History comes first, then `ready`. */
  event: FeedEvent;
  /** A message of `messages` is new or has changed; of a page of history each is told once, at its end. */
  message: ChatMessage;
  /** Something of `getSnapshot()` has changed: once for all that changes at once. What a page draws on. */
  change: undefined;
  state: { state: ConversationState; previous: ConversationState; statusText: string | null };
  /** Somebody else speaks to the customer, or where they stand in the line has changed. */
  handoff: Handoff;
  /** Somebody is writing; null when no longer. Only where the bridge sends such hints. */
  typing: { author: Author } | null;
  /** An answer takes longer than usual; `expectedAt` is RFC 3339, where the bridge can tell. */
  delayed: { messageId: string; expectedAt: string | null };
  /** The customer has read up to here, in another tab or on another device. */
  read: { sequence: number };
  connection: Connection;
  /**
   * For people or logs: what failed for good, needs a new token, or went wrong three times in a row, with what is probably the
   * cause; one trouble once. Everything is tried on all the same; passing network trouble is `connection`.
   */
  error: FiniChatError;
  /** The history has been read (or there is none). */
  ready: undefined;
  /** The conversation was erased at the bridge: what was shown of it must go. */
  reset: undefined;
}

export class FiniChatError extends Error {
  constructor(code: string, message: string, extra?: Partial<FiniChatError>);
  /**
   * The bridge's problem code (`unauthorized`, `message_conflict`, …), `http_<status>` where the answer had none, or one of:
   * `closed`, `not_found`, `not_resendable`, `no_user`, `undeliverable`, `expired`, `token` (`getToken` failed), `network` (it was
   * reached before), `address` (nothing, or something else, answers at `baseUrl`), `origin` (`server.cors_origins` lacks the page's),
   * `protocol`, `no_stream`, `gap`, `foreign_event`.
   */
  readonly code: string;
  /** HTTP status, 0 where there was none. */
  readonly status: number;
  readonly requestId?: string | null;
  /** Whatever your own `getToken` or `fetch` threw. */
  readonly cause?: unknown;
  readonly errors?: readonly { field: string; message: string }[];
  /** Wanted by the server, in ms. */
  readonly retryAfter?: number;
}

/** Everything that a page draws. */
export interface ChatSnapshot {
  readonly messages: readonly ChatMessage[];
  readonly state: ConversationState;
  readonly statusText: string | null;
  readonly handoff: Handoff;
  readonly connection: Connection;
  readonly typing: { author: Author } | null;
  readonly readSequence: number;
  readonly ready: boolean;
}

/** One customer's conversation: connects on construction, until `close()`. */
export class FiniChat {
  constructor(options: FiniChatOptions);
  readonly conversationId: string;
  readonly state: ConversationState;
  /** Fini's own words for the state, where it gave any. */
  readonly statusText: string | null;
  readonly handoff: Handoff;
  readonly connection: Connection;
  readonly typing: { author: Author } | null;
  readonly lastSequence: number;
  /** Up to where the customer has read, as far as this page has heard (`markRead`, other tabs and devices); else 0. */
  readonly readSequence: number;
  /** Whether the history has been read. */
  readonly ready: boolean;
  /** In the order to show them; own messages that are not accepted yet stand last, failed ones where they failed. The same array until something changes. */
  readonly messages: readonly ChatMessage[];
  /** For React: `useSyncExternalStore(chat.subscribe, chat.getSnapshot)`. Both may be handed on without the chat. */
  readonly subscribe: (listener: () => void) => () => void;
  readonly getSnapshot: () => ChatSnapshot;
  /** Returns how to stop listening. A listener that throws does not disturb the others. */
  on<Type extends keyof ChatEvents>(type: Type, listener: (value: ChatEvents[Type]) => void): () => void;
  /**
   * Shows the message at once (`pending`) and sends it until the bridge has it, through failures, reloads and offline times.
   * A `messageId` that was used before gives the message that has it and sends nothing. Throws on blank text and after `close()`.
   */
  send(text: string, options?: { messageId?: string; metadata?: Record<string, unknown> }): ChatMessage;
  /** Sends a failed message with `mayResend` as a new message. Calling it twice still makes one. */
  resend(messageId: string): ChatMessage;
  /** Takes a message out that is `pending` or `failed`; whether there was one. */
  discard(messageId: string): boolean;
  /** Resolves once the bridge has stored the message; rejects with `FiniChatError` when that failed for good. */
  accepted(messageId: string): Promise<ChatMessage>;
  /** Moves the customer's read mark to `sequence` (default: the last event), never back; whether the bridge has it. */
  markRead(sequence?: number): Promise<boolean>;
  /** Asks for a human; what becomes of it is told by `handoff`. Rejects with `FiniChatError` after a few tries. */
  requestHandoff(options?: { reason?: string; note?: string }): Promise<void>;
  /** The conversations of the token's user, newest first. Rejects with `FiniChatError`. */
  conversations(options?: { cursor?: string | null }): Promise<{ conversations: readonly ListedConversation[]; nextCursor: string | null }>;
  /** A fresh token, where there is no `getToken`. */
  setToken(token: TokenAnswer): void;
  /** Ends all requests and timers. Unsent messages stay in storage. */
  close(): void;
}

/** An event of a `text/event-stream`. */
export interface SseFrame {
  event: string;
  data: string;
  /** Null when the event carried no `id:` of its own. */
  id: string | null;
}

/** Parser for `text/event-stream` bytes in chunks cut anywhere. */
export class SseParser {
  push(bytes: Uint8Array): SseFrame[];
  /** The reconnection time that the stream asked for, in ms; 0 where it did not. */
  readonly retry: number;
}
