/**
 * React hook for fini-bridge-client: a chat that lives as long as the component that shows it.
 */

import { useEffect, useState, useSyncExternalStore } from 'react';
import { FiniChat } from 'fini-bridge-client';

const nothing = () => () => {};

/**
 * Connects while the component is mounted, anew for another `baseUrl` or `conversationId`; other options are read when it
 * connects. Gives the snapshot's members and `chat`; before the first effect (and on a server) `chat` is null and `messages` empty.
 */
export function useFiniChat(options) {
  const [chat, setChat] = useState(null);
  useEffect(() => {
    const opened = new FiniChat(options);
    setChat(opened);
    return () => opened.close();
  }, [options.baseUrl, options.conversationId]);
  const snapshot = useSyncExternalStore(chat?.subscribe ?? nothing, chat?.getSnapshot ?? empty, empty);
  return { ...snapshot, chat };
}

const EMPTY = Object.freeze({
  messages: Object.freeze([]), state: 'new', statusText: null, connection: 'connecting', typing: null, readSequence: 0, ready: false,
  handoff: Object.freeze({
    speaker: 'bot', reason: null, requestedAt: null, claimedAt: null, agent: null, agents: Object.freeze([]), position: null, expectedWaitSeconds: null, deskOpen: null, nextOpen: null,
  }),
});
const empty = () => EMPTY;
